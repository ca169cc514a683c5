"""The context of a build as a tar, for a host that builds it: without what the ignore file leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cais.build.context import Context
from cais.engine.build_input import DOCKERFILE_LIMIT_BYTES
from cais.errors import Invalid, NotFound, from_os_error
from cais.host.files import random_name
from cais.host.tar_writer import padding, plain_header, trailer
from cais.snapshot.changes import Change, tree_changes
from cais.snapshot.pack import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


def context_archive(directory: str, dockerfile: str, stdin: BinaryIO) -> tuple[str, Iterator[bytes]]:
    """The name of the Dockerfile's entry, which no file of the context has, and the archive in pieces.

    ``dockerfile`` is as ``image build -f`` has it: a path, ``-`` for ``stdin``, "". Raises NotFound, Invalid, Denied.
    """
    if not os.path.isdir(directory):
        raise NotFound(f"unable to prepare context: path {directory!r} not found")
    path = "" if dockerfile == "-" else dockerfile or _default(directory)
    try:
        if path:
            with open(path, "rb") as file:
                source = file.read(DOCKERFILE_LIMIT_BYTES + 1)
        else:
            source = stdin.read(DOCKERFILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(
            f"failed to read dockerfile: open {dockerfile or 'Dockerfile'}: no such file or directory",
            hint="Name another with -f.",
        )
    except OSError as error:
        raise from_os_error(error, f"read the Dockerfile {path}")
    if len(source) > DOCKERFILE_LIMIT_BYTES:
        raise Invalid(f"the Dockerfile {path} is larger than {DOCKERFILE_LIMIT_BYTES >> 20} MiB")
    name = f".dockerfile.{random_name(10)}"
    return name, _pieces(directory, path, name, source)


def _default(directory: str) -> str:
    path, lower = os.path.join(directory, "Dockerfile"), os.path.join(directory, "dockerfile")
    return lower if not os.path.lexists(path) and os.path.lexists(lower) else path


def _pieces(directory: str, dockerfile: str, name: str, source: bytes) -> Iterator[bytes]:
    with Context(directory, dockerfile=dockerfile) as context:
        yield from pack(_taken(context, directory), directory, owners=False, plain=True, moving=True, last=False)
    yield plain_header(name, len(source))
    yield source + padding(len(source))
    yield trailer()


def _taken(context: Context, directory: str) -> Iterator[Change]:
    """A file with several names is sent by each: the first of them may be ignored."""
    for change in tree_changes(None, directory, note=lambda _: None):
        path = os.fsdecode(change.path)
        if context.ignore is None or not context.ignore.ignores(path):
            yield change._replace(kind="file", link=b"") if change.kind == "hardlink" else change
