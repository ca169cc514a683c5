"""COPY, ADD and WORKDIR."""

from __future__ import annotations

from collections.abc import Sequence

from cais.build.dockerfile.errors import DockerfileError, Span
from cais.build.dockerfile.expand import ExpansionError, expand
from cais.build.dockerfile.instructions import Add, Copy, Workdir
from cais.build.dockerfile.lexer import Heredoc
from cais.build.graph import Copy as CopyOp
from cais.build.graph import InlineFile, LocalSource, MakeDirectory, Op, Vertex, parted
from cais.build.lowering.state import StageState, absolute
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.lowering.remote import Part


def workdir(state: StageState, instruction: Workdir) -> None:
    path = state.expand(instruction.path, instruction.span)
    if not path.startswith("/") and not any(entry.created_by.startswith("WORKDIR ") for entry in state.history):
        from cais.build.checks.steps import workdir_relative_path

        workdir_relative_path(path, state.checks, instruction.span)
    # An absolute path is kept as it is written, with its slash at the end.
    shown = path if path.startswith("/") else absolute(state.workdir, path)
    state.run["WorkingDir"] = shown
    path = state.workdir
    if path == "/":
        state.note(f"WORKDIR {shown}")
        return
    state.add(MakeDirectory(path, state.user), (), state.origin(instruction), f"WORKDIR {shown}")


def copy(state: StageState, instruction: Copy, source: Vertex | None) -> None:
    """``source`` is the file system that is copied from: a LocalSource, a stage's, or None for an empty one."""
    span = instruction.span
    sources = [state.expand(text, span) for text in instruction.sources]
    for text in sources:
        if "://" in text or text.startswith("git@"):
            from cais.build.lowering.remote import refuse_remote

            refuse_remote(text, span)
    if not instruction.stage and state.checks.options.wants("CopyIgnoredFile"):
        from cais.build.checks.steps import copy_ignored_file

        copy_ignored_file(instruction, sources, state.checks)
    _files(state, instruction, sources, source, unpack=False)


def add(state: StageState, instruction: Add, source: Vertex | None, shared: dict[Op, Vertex]) -> None:
    """``shared`` keeps the vertices of what is fetched: once, however often it is added."""
    span = instruction.span
    sources = [state.expand(text, span) for text in instruction.sources]
    if state.checks.options.wants("CopyIgnoredFile"):
        from cais.build.checks.steps import copy_ignored_file

        copy_ignored_file(instruction, [text for text in sources if "://" not in text], state.checks)
    if instruction.checksum or any("://" in text or text.startswith("git@") for text in sources):
        from cais.build.lowering.remote import parts_of

        parts = parts_of(instruction, state.expand(instruction.checksum, span), sources, source, shared)
        _files(state, instruction, sources, source, unpack=False, parts=parts)
        return
    _files(state, instruction, sources, source, unpack=instruction.unpack is not False)


def _files(
    state: StageState,
    instruction: Copy | Add,
    sources: list[str],
    source: Vertex | None,
    *,
    unpack: bool,
    parts: Sequence[Part] = (),
) -> None:
    span = instruction.span
    keyword = "ADD" if isinstance(instruction, Add) else "COPY"
    chown, chmod = state.expand(instruction.chown, span), state.expand(instruction.chmod, span)
    if chmod:
        from cais.build import modes

        try:
            modes.parse(chmod)
        except Invalid as error:
            raise DockerfileError(error.message, span, hint=error.hint)
    exclude = tuple(state.expand(text, span) for text in instruction.exclude)
    parents = isinstance(instruction, Copy) and instruction.parents
    if exclude or parents:
        _check_patterns(exclude, sources if parents else (), span)
    shown = state.expand(instruction.destination, span)
    inline = tuple(_inline(state, heredoc, span) for heredoc in instruction.heredocs)
    words = [keyword, "--parents"] if parents else [keyword]
    if chown:
        words.append(f"--chown={chown}")
    if chmod:
        words.append(f"--chmod={chmod}")
    if parts:
        from cais.sources.urls import redacted

        sources = [redacted(text) for text in sources]
    words += [*sources, *(f"<<{heredoc.name}" for heredoc in instruction.heredocs), shown]
    created_by = " ".join(words) + " # buildkit"
    # With a mode it is not linked, as with BuildKit; with a name it could not be: that is looked up in what is below.
    link = instruction.link and not chmod and not any(part and not part.isdecimal() for part in chown.split(":"))
    op = CopyOp(
        tuple(_with_parents(text) if parents else absolute("/", text)[1:] or "." for text in sources),
        destination(state.workdir, shown),
        inline,
        chown,
        chmod,
        unpack,
        source is not None and isinstance(source.op, LocalSource),
        exclude,
        parents,
    )
    if parts:
        ops = [op._replace(sources=part.patterns, unpack=part.unpack, inline=()) for part in parts]
        ops[-1] = ops[-1]._replace(inline=inline)
        op = ops[0]._replace(more=tuple(ops[1:]))
        inputs = tuple(part.source for part in parts)
        origin = state.origin(instruction)
        state.add(op, inputs, origin._replace(text=redacted(origin.text)), created_by, link=link)
        return
    state.add(op, (source,) if sources else (), state.origin(instruction), created_by, link=link)


def destination(workdir: str, text: str) -> str:
    """Absolute and clean; with a slash at its end where that, or ``.``, or nothing says that it is a directory."""
    path = absolute(workdir, text)
    if text.endswith(("/", "/.")) or text in ("", "."):
        return path if path == "/" else path + "/"
    return path


def _inline(state: StageState, heredoc: Heredoc, span: Span) -> InlineFile:
    text = heredoc.body
    if heredoc.expand and ("$" in text or "\\" in text):
        try:
            expanded = expand(text, state.env, quotes=False)
        except ExpansionError as error:
            raise DockerfileError(str(error), span)
        if expanded.unset:
            state.warn_unset(expanded.unset, span)
        text = expanded.text
    name = heredoc.name.removeprefix("/")
    if name in ("", ".", "..") or "/" in name:
        raise DockerfileError(f"{heredoc.name!r} cannot be the name of a file", span)
    return InlineFile(name, text.encode("utf-8", "surrogateescape"))


def _with_parents(text: str) -> str:
    """``BASE/./PATTERN`` of a source of ``--parents``, both clean: what is before the first ``/./`` does not come."""
    base, pivot, pattern = text.partition("/./")
    if not pivot:
        base, pattern = "", text
    return f"{absolute('/', base)[1:]}/./{absolute('/', pattern)[1:]}"


def _check_patterns(exclude: Sequence[str], parents: Sequence[str], span: Span) -> None:
    from cais.build.ignore import Ignore

    try:
        Ignore.excluding(exclude)
        for text in parents:
            Ignore.only(parted(_with_parents(text))[1])
    except Invalid as error:
        raise DockerfileError(error.message, span, hint=error.hint)
