"""What a build starts from: a context and a Dockerfile, from a directory, a file, standard input, or elsewhere."""

from __future__ import annotations

import os
import stat

from cais.build.context import Context
from cais.build.contexts import Contexts
from cais.build.dockerfile.errors import Span, marked_lines
from cais.build.tree import Tree
from cais.engine.build_options import BuildOptions
from cais.engine.build_sources import Sources, git_source, shown_source
from cais.engine.stores import Stores
from cais.errors import CaisError, Invalid, NotFound, from_os_error
from cais.host.files import random_name, remove_tree, write_atomically
from cais.spec.progress import Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from cais.sources.git_urls import GitUrl

# A Dockerfile longer than this is none.
DOCKERFILE_LIMIT_BYTES = 16 << 20


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


class Explained:
    """Adds the marked lines of the Dockerfile to an error that says which they are."""

    def __init__(self, given: BuildInput) -> None:
        self._given = given

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CaisError) and error.span is not None and not error.lines:
            source = shown_source(self._given.source).encode("utf-8", "surrogateescape")
            error.lines = marked_lines(self._given.dockerfile_name, source, Span(*error.span))


def open_input(stores: Stores, options: BuildOptions, directory: str, progress: Progress = silent) -> BuildInput:
    """``directory`` takes what has to be unpacked; without one, a temporary one is made for it.

    A context that is neither a directory nor ``-`` is fetched. Raises NotFound, Invalid, Denied, and what fetching it
    raises.
    """
    sources = Sources(stores, options)
    context = options.context
    if context == "-":
        return _from_standard_input(stores, sources, options, directory)
    if not os.path.isdir(context):
        if os.path.lexists(context):
            raise Invalid(
                f"unable to prepare context: {context!r} is not a directory",
                hint="The argument is the directory whose files COPY takes; -f names the Dockerfile.",
            )
        remote = _remote(context)
        if remote is None:
            raise NotFound(f"unable to prepare context: path {context!r} not found")
        return _from_elsewhere(stores, sources, options, directory, remote, progress)
    if (elsewhere := _other_dockerfile(sources, options)) is not None:
        path, (source, name) = "", elsewhere
    else:
        path = options.dockerfile or _default_dockerfile(context)
        source, name = _read_file(path, context, options.dockerfile), os.path.basename(path)
    scope = f"{os.path.realpath(context)}\0{os.path.realpath(path) if path else '-'}"
    cache = os.path.join(stores.root, "contexts")
    return BuildInput(sources, Context(context, dockerfile=path, cache=cache), source, name, scope)


def _remote(context: str) -> GitUrl | str | None:
    """A repository, or a file's URL."""
    from cais.sources.git_urls import parse_git_url
    from cais.sources.urls import is_http

    return parse_git_url(context) or (context if is_http(context) else None)


def _from_elsewhere(
    stores: Stores, sources: Sources, options: BuildOptions, directory: str, remote: GitUrl | str, progress: Progress
) -> BuildInput:
    """A repository; an archive; or a file that is the Dockerfile, of a build without files. What it is is kept, and its
    ignore file does not count, as with BuildKit."""
    import time

    from cais.sources.files import file_of, tree_of
    from cais.sources.urls import redacted

    started = time.monotonic()
    shown = redacted(options.context)
    kind = "remote build context" if isinstance(remote, str) else f"git source {shown}"
    progress({"event": "start", "id": 0, "name": f"[internal] load {kind}", "stage": "internal"})
    try:
        if isinstance(remote, str):
            fetched, known = sources.files.get(remote, again=options.no_cache)
            from cais.build.graph import HttpSource

            sources.context = HttpSource(remote)
            sources.kept[sources.context] = fetched
            kept = sources.unpacked(fetched)
        else:
            sources.context = git_source(remote)
            kept, known = sources.checked_out(sources.context)
    except CaisError as error:
        progress({"event": "error", "id": 0, "message": str(error)})
        raise
    progress(
        {"event": "cached", "id": 0} if known else {"event": "done", "id": 0, "seconds": time.monotonic() - started}
    )
    scope = f"{shown.partition('#')[0]}\0{options.dockerfile or '-'}"
    if kept is None:
        with open(file_of(fetched), "rb") as file:
            source, seconds = _read(file, shown), os.fstat(file.fileno()).st_mtime
        given = _without_files(stores, sources, options, directory, source, scope)
        # The one file that BuildKit has in such a context, by the name that it gives it.
        path = os.path.join(given.contexts.own.path, "context")
        write_atomically(path, source)
        os.utime(path, (seconds, seconds))
        return given
    tree = tree_of(kept)
    elsewhere = _other_dockerfile(sources, options)
    source, name = elsewhere if elsewhere is not None else _read_inside(tree, options.dockerfile)
    context = Context(tree, cache=os.path.join(stores.root, "contexts"), ignoring=False)
    return BuildInput(sources, context, source, name, scope)


def _other_dockerfile(sources: Sources, options: BuildOptions) -> tuple[bytes, str] | None:
    """A Dockerfile that is in no directory, and what it is called: ``-f -``, ``-f https://..``."""
    given = options.dockerfile
    if given == "-":
        return _read(_standard_input(options), "Dockerfile"), "Dockerfile"
    if given.startswith(("http://", "https://")) and not os.path.lexists(given):
        from cais.sources.files import file_of
        from cais.sources.urls import redacted

        kept, _ = sources.files.get(given, again=options.no_cache)
        with open(file_of(kept), "rb") as file:
            return _read(file, redacted(given)), str(kept.facts["name"])
    return None


def _from_standard_input(stores: Stores, sources: Sources, options: BuildOptions, directory: str) -> BuildInput:
    """What is unpacked is seen once: nothing is remembered of it."""
    from cais.engine.build_archives import is_archive, read_start, unpack

    if options.dockerfile == "-":
        raise Invalid("invalid argument: can't use stdin for both build context and dockerfile")
    stdin = _standard_input(options)
    start = read_start(stdin)
    if not is_archive(start):
        source = start + _read(stdin, "Dockerfile")
        if len(source) > DOCKERFILE_LIMIT_BYTES:
            raise _too_large("Dockerfile")
        return _without_files(stores, sources, options, directory, source, "-")
    temporary = _temporary(stores, directory)
    try:
        unpack(start, stdin, temporary)
        if options.dockerfile_entry:
            source, name = _read_inside(temporary, options.dockerfile_entry)[0], options.dockerfile or "Dockerfile"
            os.unlink(os.path.join(temporary, os.path.basename(options.dockerfile_entry)))
        else:
            elsewhere = _other_dockerfile(sources, options)
            source, name = elsewhere if elsewhere is not None else _read_inside(temporary, options.dockerfile)
        return BuildInput(sources, Context(temporary, ignoring=False), source, name, "-", temporary)
    except OSError as error:
        remove_tree(temporary)
        raise from_os_error(error, "unpack the build context")
    except BaseException:
        remove_tree(temporary)
        raise


def _without_files(
    stores: Stores, sources: Sources, options: BuildOptions, directory: str, source: bytes, scope: str
) -> BuildInput:
    if options.dockerfile:
        raise Invalid("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    temporary = _temporary(stores, directory)
    return BuildInput(sources, Context(temporary), source, "Dockerfile", scope, temporary)


def _temporary(stores: Stores, directory: str) -> str:
    # Its name tells the collector whose it is.
    path = os.path.join(directory, "context") if directory else temporary_directory(stores)
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, "unpack the build context")
    return path


def temporary_directory(stores: Stores) -> str:
    """A path that nobody else has, for what a build needs on the way; it is removed once this process has ended."""
    return os.path.join(stores.root, "builds", f"{random_name(6)}.{stores.leases.id}")


def _read_inside(directory: str, dockerfile: str) -> tuple[bytes, str]:
    """The Dockerfile of a context that others wrote: they do not choose which of this host's files are read."""
    name = dockerfile or os.path.basename(_default_dockerfile(directory))
    with Tree(directory) as tree:
        resolved = tree.resolve(name)
        if resolved.status is None:
            raise NotFound(
                f"failed to read dockerfile: open {name}: no such file or directory",
                hint="-f names a file in the context." if dockerfile else "Name another with -f.",
            )
        if stat.S_ISDIR(resolved.status.st_mode):
            raise Invalid(f"failed to read dockerfile: {name!r} is a directory")
        if not stat.S_ISREG(resolved.status.st_mode):
            raise Invalid(f"failed to read dockerfile: {name} is no regular file")
        try:
            with open(tree.open_file(resolved.path), "rb") as file:
                return _read(file, name), os.path.basename(resolved.path)
        except OSError as error:
            raise from_os_error(error, f"read the Dockerfile {name}")


def _standard_input(options: BuildOptions) -> BinaryIO:
    if options.stdin is None:
        raise Invalid("standard input is asked for, and there is none")
    return options.stdin


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
