"""What a text of HCL is made of. ``at`` is where in the text something begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.build.dockerfile.errors import Span, marked_lines
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Source(NamedTuple):
    """A text and what it is called in messages; not ``located``: it is one string of the file, nobody knows where."""

    name: str
    text: str
    located: bool = True

    def error(self, at: int, message: str, hint: str = "") -> Invalid:
        """What is wrong at ``at``, with the marked line."""
        if not self.located:
            return Invalid(f"{self.name}: {message} (in {self.text[:80]!r})", hint=hint)
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        error = Invalid(f"{self.name}:{line},{column}: {message}", hint=hint)
        error.lines = marked_lines(self.name, self.text.encode("utf-8", "surrogateescape"), Span(line, line))
        return error


class Literal(NamedTuple):
    value: Any
    at: int


class Template(NamedTuple):
    """Texts and expressions; one lone expression keeps its type."""

    parts: Sequence[Any]
    at: int


class TemplateIf(NamedTuple):
    test: Any
    yes: Sequence[Any]
    no: Sequence[Any]
    at: int


class TemplateFor(NamedTuple):
    names: Sequence[str]
    of: Any
    parts: Sequence[Any]
    at: int


class Name(NamedTuple):
    name: str
    at: int


class Member(NamedTuple):
    """``of.key`` and ``of[key]``."""

    of: Any
    key: Any
    at: int


class Splat(NamedTuple):
    """``of[*].rest``: ``each`` is evaluated with every item as ``item``."""

    of: Any
    each: Any
    at: int


class SplatItem(NamedTuple):
    at: int


class Call(NamedTuple):
    """``expand``: the last argument is a list of arguments."""

    name: str
    arguments: Sequence[Any]
    expand: bool
    at: int


class Unary(NamedTuple):
    operator: str
    of: Any
    at: int


class Binary(NamedTuple):
    operator: str
    left: Any
    right: Any
    at: int


class Conditional(NamedTuple):
    test: Any
    yes: Any
    no: Any
    at: int


class ListOf(NamedTuple):
    items: Sequence[Any]
    at: int


class ObjectOf(NamedTuple):
    pairs: Sequence[tuple[Any, Any]]
    at: int


class For(NamedTuple):
    """``key`` is None where a list is made. ``group``: values of the same key become a list."""

    names: Sequence[str]
    of: Any
    key: Any
    value: Any
    test: Any
    group: bool
    at: int


class Attribute(NamedTuple):
    """``name = expression`` in ``source``."""

    name: str
    expression: Any
    source: Source
    at: int


class Block(NamedTuple):
    kind: str
    labels: Sequence[str]
    body: Body
    source: Source
    at: int


class Body(NamedTuple):
    attributes: Mapping[str, Attribute]
    blocks: Sequence[Block]
