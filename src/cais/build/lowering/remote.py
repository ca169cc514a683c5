"""The sources of an ADD that are elsewhere: files by URL, repositories."""

from __future__ import annotations

from cais.build.dockerfile.errors import DockerfileError, Span
from cais.build.dockerfile.instructions import Add
from cais.build.graph import GitSource, HttpSource, Op, Origin, Vertex
from cais.build.lowering.state import absolute
from cais.errors import CaisError
from cais.sources.git_urls import GitUrl, parse_git_url
from cais.sources.urls import is_http, redacted
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What is fetched is a tree of its own: the one file in it, whatever it is called; or all of a checkout.
_THE_FILE = "*"
_ALL = "."


class Part(NamedTuple):
    """``patterns`` of one ``source``, in the order of the instruction; ``unpack``: archives among them are."""

    patterns: tuple[str, ...]
    source: Vertex
    unpack: bool


def refuse_remote(text: str, span: Span) -> None:
    """COPY takes nothing from elsewhere. Raises DockerfileError."""
    if is_git(text, span):
        raise DockerfileError("source can't be a git ref for COPY", span, hint="ADD takes git repositories.")
    if is_http(text):
        raise DockerfileError("source can't be a URL for COPY", span, hint="ADD takes URLs.")


def is_git(text: str, span: Span) -> GitUrl | None:
    """The repository that ``text`` is in ADD, where ``github.com/...`` is a path. Raises DockerfileError."""
    try:
        return parse_git_url(text, short=False)
    except CaisError as error:
        raise DockerfileError(error.message, span, hint=error.hint)


def parts_of(
    instruction: Add, checksum: str, sources: Sequence[str], local: Vertex | None, shared: dict[Op, Vertex]
) -> list[Part]:
    """The sources of ``instruction`` (expanded) with their vertices; neighbours of the context are one part.

    Raises DockerfileError for flags that do not fit.
    """
    span = instruction.span
    if checksum and len(sources) + len(instruction.heredocs) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources", span)
    parts: list[Part] = []
    for text in sources:
        repository = is_git(text, span)
        op: Op
        if repository is not None:
            op = _git(repository, instruction, checksum)
            parts.append(Part((_ALL,), _vertex(op, text, instruction, shared), False))
        elif is_http(text):
            op = HttpSource(text, _checked(checksum, span))
            unpack = instruction.unpack is True
            parts.append(Part((_THE_FILE,), _vertex(op, text, instruction, shared), unpack))
        elif checksum:
            raise DockerfileError("checksum requires HTTP(S) or Git sources", span)
        else:
            assert local is not None
            pattern = absolute("/", text)[1:] or "."
            if parts and parts[-1].source is local:
                parts[-1] = parts[-1]._replace(patterns=(*parts[-1].patterns, pattern))
            else:
                parts.append(Part((pattern,), local, instruction.unpack is not False))
    if checksum and not parts:
        raise DockerfileError("checksum requires HTTP(S) or Git sources", span)
    return parts


def _git(repository: GitUrl, instruction: Add, checksum: str) -> GitSource:
    if checksum and repository.checksum and checksum != repository.checksum:
        raise DockerfileError(
            f"checksum mismatch: the URL says {repository.checksum}, --checksum {checksum}", instruction.span
        )
    checksum = checksum or repository.checksum
    if checksum and not (frozenset("0123456789abcdef").issuperset(checksum) and 7 <= len(checksum) <= 64):
        raise DockerfileError(f"invalid checksum {checksum!r}: of a git repository it is a commit", instruction.span)
    return GitSource(
        repository.url,
        repository.reference,
        repository.subdirectory,
        instruction.keep_git_dir or repository.keep_git_directory,
        repository.submodules,
        checksum,
    )


def _checked(checksum: str, span: Span) -> str:
    if checksum:
        from cais.sources.files import check_checksum

        try:
            check_checksum(checksum)
        except CaisError as error:
            raise DockerfileError(error.message, span, hint=error.hint)
    return checksum


def _vertex(op: Op, text: str, instruction: Add, shared: dict[Op, Vertex]) -> Vertex:
    if op not in shared:
        span = instruction.span
        shared[op] = Vertex(op, (), Origin(span.first_line, span.last_line, redacted(text), ""))
    return shared[op]
