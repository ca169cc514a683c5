"""What is wrong with a Dockerfile, and on which lines."""

from __future__ import annotations

from collections.abc import Iterable

from cais.errors import CaisError, Denied, Invalid, NotFound
from cais.spec.named import NamedTuple

_SHOWN_CHARACTERS = 300


class Span(NamedTuple):
    """Lines counted from 1, both included."""

    first_line: int
    last_line: int


class Located(CaisError):
    """An error that the marked lines of the Dockerfile explain: see ``marked_lines``."""

    def __init__(self, message: str, span: Span, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.span = span


class DockerfileError(Located, Invalid):
    """The Dockerfile says something that makes no sense."""


class ParseError(DockerfileError):
    """It is not of the language. ``reason`` is the message without the line."""

    def __init__(self, reason: str, span: Span, *, hint: str = "") -> None:
        super().__init__(f"dockerfile parse error on line {span.first_line}: {reason}", span, hint=hint)
        self.reason = reason


class LineError(ParseError):
    """A line that cannot be taken apart, whatever its instruction would mean: said at once behind ONBUILD, too."""


class NotAllowed(Located, Denied):
    """A RUN asks for a privilege that the build does not give (``--allow``)."""


class BaseNotFound(Located, NotFound):
    """The image that a FROM or --from names is not there."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of ``known`` that is at most two typing errors away, without regard to case; "" when there is none.

    Not one that shares no letter with it.
    """
    wanted, best = word.lower(), ""
    distance = min(3, len(wanted))
    for item in known:
        if abs(len(item) - len(wanted)) < distance:
            found = _distance(wanted, item.lower())
            if found < distance:
                best, distance = item, found
    return best if best != word else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)``, or ""."""
    near = nearest(word[:80], known)
    return f" (did you mean {near}?)" if near else ""


def marked_lines(name: str, source: bytes | str, span: Span) -> str:
    """The lines around ``span`` with those of it marked by ``>>>``, as BuildKit prints them; ends with a newline.

    Control characters are shown as ``?``: a Dockerfile does not get to steer the terminal. Of a long line, the start.
    """
    if isinstance(source, bytes):
        source = source.decode("utf-8", "replace")
    lines = source.split("\n")
    first = min(max(span.first_line, 1), len(lines))
    last = min(max(span.last_line, first), len(lines))
    start, end, padded = first, last, 0
    wanted = 4 if first == last else 2
    while padded < wanted:
        if start > 1:
            start -= 1
            padded += 1
        if end < len(lines):
            end += 1
            padded += 1
        padded += 1
    rule = "--------------------\n"
    shown = [f"{name}:{first}\n", rule]
    for number in range(start, end + 1):
        mark = ">>>" if first <= number <= last else "   "
        text = lines[number - 1].removesuffix("\r")
        if len(text) > _SHOWN_CHARACTERS:
            text = text[:_SHOWN_CHARACTERS] + "..."
        if not text.isprintable():
            text = "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
        shown.append(f" {number:>3} | {mark} {text}\n")
    shown.append(rule)
    return "".join(shown)


def _distance(one: str, other: str) -> int:
    """How many letters to put in, take out, change, or swap with the next (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, char in enumerate(one, 1):
        before, last, row = row, before, [index]
        for column, against in enumerate(other, 1):
            best = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (char != against))
            if index > 1 and column > 1 and char == other[column - 2] and one[index - 2] == against:
                best = min(best, last[column - 2] + 1)
            row.append(best)
    return row[-1]
