"""What a build starts from: a context and a Dockerfile, from a directory, a file, or standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from cais.build.context import Context
from cais.build.contexts import Contexts
from cais.build.tree import Tree
from cais.engine.build_options import BuildOptions
from cais.engine.build_sources import Sources
from cais.engine.stores import Stores
from cais.errors import Invalid, NotFound, Unsupported, from_os_error
from cais.host.files import random_name, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

# A Dockerfile longer than this is none.
DOCKERFILE_LIMIT_BYTES = 16 << 20
_TAR_BLOCK_BYTES = 512
_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")


class BuildInput:
    """``scope`` tells one Dockerfile's steps from another's in the records; ``dockerfile_name`` is for messages."""

    def __init__(
        self, sources: Sources, context: Context, source: bytes, dockerfile_name: str, scope: str, temporary: str = ""
    ) -> None:
        self.sources = sources
        self.contexts = Contexts(context, sources.open)
        self.source = source
        self.dockerfile_name = dockerfile_name
        self.scope = scope
        self._temporary = temporary

    @property
    def place(self) -> str:
        """Where the Dockerfile lies, for messages."""
        path = self.scope.partition("\0")[2]
        return path if path and path != "-" else "standard input"

    def __enter__(self) -> BuildInput:
        return self

    def __exit__(self, *_: object) -> None:
        self.contexts.close()
        if self._temporary:
            remove_tree(self._temporary)


def open_input(stores: Stores, options: BuildOptions, directory: str) -> BuildInput:
    """``directory`` takes what has to be unpacked; without one, a temporary one is made for it.

    Raises NotFound, Invalid, Unsupported (a remote context), Denied.
    """
    if options.context.startswith(_REMOTE):
        raise Unsupported(
            f"the context {options.context!r} is remote, and this version builds from local files",
            hint="Fetch it first, and give its directory.",
        )
    cache = os.path.join(stores.root, "contexts")
    if options.context == "-":
        return _from_standard_input(stores, options, directory)
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
    return BuildInput(Sources(stores, options), Context(context, dockerfile=path, cache=cache), source, name, scope)


def _from_standard_input(stores: Stores, options: BuildOptions, directory: str) -> BuildInput:
    if options.dockerfile == "-":
        raise Invalid("invalid argument: can't use stdin for both build context and dockerfile")
    stdin = _standard_input(options)
    # Its name tells the collector whose it is.
    temporary = os.path.join(directory, "context") if directory else temporary_directory(stores)
    try:
        os.makedirs(temporary, 0o700, exist_ok=True)
        return _unpacked(Sources(stores, options), stdin, options.dockerfile, temporary)
    except OSError as error:
        remove_tree(temporary)
        raise from_os_error(error, "unpack the build context")
    except BaseException:
        remove_tree(temporary)
        raise


def temporary_directory(stores: Stores) -> str:
    """A path that nobody else has, for what a build needs on the way; it is removed once this process has ended."""
    return os.path.join(stores.root, "builds", f"{random_name(6)}.{stores.leases.id}")


def _unpacked(sources: Sources, stdin: BinaryIO, dockerfile: str, directory: str) -> BuildInput:
    """What is unpacked is seen once: nothing is remembered of it (``cache``)."""
    start = _read_start(stdin)
    if not _is_archive(start):
        source = start + _read(stdin, "Dockerfile")
        if len(source) > DOCKERFILE_LIMIT_BYTES:
            raise _too_large("Dockerfile")
        return BuildInput(sources, Context(directory), source, "Dockerfile", "-", directory)
    from cais.host.compression import decompressed
    from cais.snapshot.apply import apply

    apply(decompressed(_pieces(start, stdin), "auto"), directory, style="merged", owners=False)
    name = dockerfile or os.path.basename(_default_dockerfile(directory))
    # Whoever wrote the archive does not choose which of this host's files are read.
    with Tree(directory) as tree:
        resolved = tree.resolve(name)
    if resolved.status is None:
        raise NotFound(
            f"failed to read dockerfile: open {name}: no such file or directory",
            hint="-f names a file in the archive." if dockerfile else "Name another with -f.",
        )
    if not stat.S_ISREG(resolved.status.st_mode) and not stat.S_ISDIR(resolved.status.st_mode):
        raise Invalid(f"failed to read dockerfile: {name} is no regular file")
    path = os.path.join(directory, resolved.path)
    source = _read_file(path, directory, dockerfile)
    return BuildInput(sources, Context(directory, dockerfile=path), source, os.path.basename(path), "-", directory)


def _read_start(stream: BinaryIO) -> bytes:
    """The first block, of a pipe that gives it in parts, too."""
    start = b""
    while len(start) < _TAR_BLOCK_BYTES and (piece := stream.read(_TAR_BLOCK_BYTES - len(start))):
        start += piece
    return start


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
    pieces = []
    size = 0
    while piece := file.read(1 << 20):
        pieces.append(piece)
        size += len(piece)
        if size > DOCKERFILE_LIMIT_BYTES:
            raise _too_large(name)
    return b"".join(pieces)


def _too_large(name: str) -> Invalid:
    return Invalid(f"the Dockerfile {name} is larger than {DOCKERFILE_LIMIT_BYTES >> 20} MiB")
