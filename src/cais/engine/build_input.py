"""What a build starts from: a context and a Dockerfile, from a directory, a file, or standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from cais.build.context import Context
from cais.engine.build_options import BuildOptions
from cais.engine.stores import Stores
from cais.errors import Invalid, NotFound, Unsupported, from_os_error
from cais.host.files import remove_tree

# A Dockerfile longer than this is none.
DOCKERFILE_LIMIT_BYTES = 16 << 20
_TAR_BLOCK_BYTES = 512
_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")


class BuildInput:
    """``scope`` tells one Dockerfile's steps from another's in the records; ``dockerfile_name`` is for messages."""

    def __init__(self, context: Context, source: bytes, dockerfile_name: str, scope: str, temporary: str = "") -> None:
        self.context = context
        self.source = source
        self.dockerfile_name = dockerfile_name
        self.scope = scope
        self._temporary = temporary

    def __enter__(self) -> BuildInput:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()
        if self._temporary:
            remove_tree(self._temporary)


def open_input(stores: Stores, options: BuildOptions, directory: str) -> BuildInput:
    """``directory`` takes what has to be unpacked. Raises NotFound, Invalid, Unsupported (a remote context), Denied."""
    if options.context.startswith(_REMOTE):
        raise Unsupported(
            f"the context {options.context!r} is remote, and this version builds from local files",
            hint="Fetch it first, and give its directory.",
        )
    cache = os.path.join(stores.root, "contexts")
    if options.context == "-":
        return _from_standard_input(options, cache, directory)
    context = options.context
    if not os.path.isdir(context):
        if os.path.lexists(context):
            raise Invalid(
                f"unable to prepare context: {context!r} is not a directory",
                hint="The argument is the directory whose files COPY takes; -f names the Dockerfile.",
            )
        raise NotFound(f"unable to prepare context: path {context!r} not found")
    if options.dockerfile == "-":
        source, path, name = _read(_standard_input(options), "Dockerfile"), "", "Dockerfile"
    else:
        path = options.dockerfile or _default_dockerfile(context)
        source, name = _read_file(path, context, options.dockerfile), os.path.basename(path)
    scope = f"{os.path.realpath(context)}\0{os.path.realpath(path) if path else '-'}"
    return BuildInput(Context(context, dockerfile=path, cache=cache), source, name, scope)


def _from_standard_input(options: BuildOptions, cache: str, directory: str) -> BuildInput:
    if options.dockerfile == "-":
        raise Invalid("invalid argument: can't use stdin for both build context and dockerfile")
    stdin = _standard_input(options)
    start = stdin.read(_TAR_BLOCK_BYTES)
    empty = os.path.join(directory, "context")
    os.makedirs(empty, exist_ok=True)
    if not _is_archive(start):
        source = start + _read(stdin, "Dockerfile")
        return BuildInput(Context(empty, cache=cache), source, "Dockerfile", "-", empty)
    from cais.host.compression import decompressed
    from cais.snapshot.apply import apply

    apply(decompressed(_pieces(start, stdin), "auto"), empty, style="merged", owners=False)
    path = os.path.join(empty, options.dockerfile) if options.dockerfile else _default_dockerfile(empty)
    source = _read_file(path, empty, options.dockerfile)
    return BuildInput(Context(empty, dockerfile=path, cache=cache), source, os.path.basename(path), "-", empty)


def _standard_input(options: BuildOptions) -> BinaryIO:
    if options.stdin is None:
        raise Invalid("standard input is asked for, and there is none")
    return options.stdin


def _pieces(start: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield start
    while piece := stream.read(1 << 16):
        yield piece


def _is_archive(start: bytes) -> bool:
    """As Docker's client tells: by the magic of a compression, or of a tar."""
    return start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")) or start[257:262] == b"ustar"


def _default_dockerfile(context: str) -> str:
    path = os.path.join(context, "Dockerfile")
    lower = os.path.join(context, "dockerfile")
    return lower if not os.path.lexists(path) and os.path.lexists(lower) else path


def _read_file(path: str, context: str, given: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except IsADirectoryError:
        raise Invalid(
            f"failed to read dockerfile: {path!r} is a directory",
            hint="-f names the Dockerfile itself, as in -f a/b.Dockerfile.",
        )
    except FileNotFoundError:
        hint = "Name another with -f."
        inside = os.path.join(context, given)
        if given and not os.path.isabs(given) and os.path.exists(inside):
            hint = f"-f is relative to the working directory: did you mean -f {inside}?"
        raise NotFound(f"failed to read dockerfile: open {given or 'Dockerfile'}: no such file or directory", hint=hint)
    except OSError as error:
        raise from_os_error(error, f"read the Dockerfile {path}")


def _read(file: BinaryIO, name: str) -> bytes:
    source = file.read(DOCKERFILE_LIMIT_BYTES + 1)
    if len(source) > DOCKERFILE_LIMIT_BYTES:
        raise Invalid(f"the Dockerfile {name} is larger than {DOCKERFILE_LIMIT_BYTES >> 20} MiB")
    return source
