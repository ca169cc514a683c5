"""The expressions of HCL, read by precedence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cais.build.hcl import syntax
from cais.build.hcl.syntax import Source
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LEVELS: Sequence[tuple[str, ...]] = (
    ("||",),
    ("&&",),
    ("==", "!="),
    ("<=", ">=", "<", ">"),
    ("+", "-"),
    ("*", "/", "%"),
)
_KEYWORDS = {"true": True, "false": False, "null": None}
_DEPTH_LIMIT = 60


class Expressions:
    """A place in a text, and what reads on from there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0
        self._depth = 0
        self._lines = True  # whether a newline ends an expression

    # What all parts are read with.

    def error(self, message: str, at: int | None = None) -> Invalid:
        return self.source.error(self.at if at is None else at, message)

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def take(self, text: str) -> bool:
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def blank(self, *, newlines: bool | None = None) -> None:
        """Passes over blanks and comments; newlines where they end nothing."""
        over = not self._lines if newlines is None else newlines
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if char in " \t" or (char == "\n" and over):
                self.at += 1
            elif char == "#" or text.startswith("//", self.at):
                end = text.find("\n", self.at)
                self.at = len(text) if end < 0 else end
            elif text.startswith("/*", self.at):
                end = text.find("*/", self.at + 2)
                if end < 0:
                    raise self.error("Unterminated comment.")
                self.at = end + 2
            else:
                return

    def is_identifier(self) -> bool:
        return self.at < len(self.text) and (self.text[self.at].isalpha() or self.text[self.at] == "_")

    def identifier(self, wanted: str = "An identifier is required here.") -> str:
        start = self.at
        if not self.is_identifier():
            raise self.error(wanted)
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "_-"):
            self.at += 1
        return self.text[start : self.at]

    def at_end(self) -> None:
        self.blank(newlines=True)
        if self.at < len(self.text):
            raise self.error(f"Invalid character {self.text[self.at]!r}.")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise self.error("This is nested too deeply.")
        try:
            yield
        finally:
            self._depth -= 1

    @contextmanager
    def lines(self, count: bool) -> Iterator[None]:
        """Whether newlines count within."""
        before, self._lines = self._lines, count
        try:
            yield
        finally:
            self._lines = before

    # Expressions.

    def expression(self) -> Any:
        with self.deeper():
            self.blank()
            at = self.at
            test = self._operation(0)
            self.blank()
            if not self.take("?"):
                return test
            yes = self.expression()
            self.blank()
            if not self.take(":"):
                raise self.error('Missing false expression in conditional: it is "CONDITION ? A : B".')
            return syntax.Conditional(test, yes, self.expression(), at)

    def _operation(self, level: int) -> Any:
        if level == len(_LEVELS):
            return self._unary()
        left = self._operation(level + 1)
        while True:
            self.blank()
            at = self.at
            operator = next((text for text in _LEVELS[level] if self.peek(text)), None)
            if operator is None or (operator == "=" and self.peek("=>")):
                return left
            self.at += len(operator)
            left = syntax.Binary(operator, left, self._operation(level + 1), at)

    def _unary(self) -> Any:
        self.blank()
        at = self.at
        if self.peek("-") or (self.peek("!") and not self.peek("!=")):
            self.at += 1
            with self.deeper():
                return syntax.Unary(self.text[at], self._unary(), at)
        return self._members(self._term())

    def _members(self, of: Any) -> Any:
        """What follows a term: ``.name``, ``[index]``, splats."""
        while True:
            before = self.at
            self.blank()
            at = self.at
            if self.peek("...") or not (self.peek(".") or self.peek("[")):
                self.at = before
                return of
            if self.take(".*"):
                of = syntax.Splat(of, self._each(attributes_only=True), at)
            elif self.take("[*]"):
                of = syntax.Splat(of, self._each(attributes_only=False), at)
            else:
                of = self._member(of)

    def _each(self, *, attributes_only: bool) -> Any:
        item: Any = syntax.SplatItem(self.at)
        while (self.peek(".") and not self.peek("...") and not self.peek(".*")) or (
            not attributes_only and self.peek("[") and not self.peek("[*]")
        ):
            item = self._member(item)
        return item

    def _member(self, of: Any) -> Any:
        at = self.at
        if self.take("."):
            start = self.at
            while self.at < len(self.text) and self.text[self.at].isdigit():
                self.at += 1
            if self.at > start:
                return syntax.Member(of, syntax.Literal(int(self.text[start : self.at]), start), at)
            return syntax.Member(
                of, syntax.Literal(self.identifier("An attribute name is required after a dot."), start), at
            )
        self.at += 1
        with self.lines(False):
            key = self.expression()
            self.blank()
            if not self.take("]"):
                raise self.error("Missing close bracket on index.")
        return syntax.Member(of, key, at)

    def _term(self) -> Any:
        self.blank()
        at = self.at
        if self.at >= len(self.text):
            raise self.error("Missing expression: the text ends where one is required.")
        char = self.text[self.at]
        if char == '"':
            return self._quoted()
        if char.isdigit():
            return self._number()
        if self.peek("<<"):
            return self._heredoc()
        if self.take("("):
            with self.lines(False):
                inner = self.expression()
                self.blank()
                if not self.take(")"):
                    raise self.error("Unbalanced parentheses: a closing one is required here.")
            # Of one name in parentheses it is known that it is no key.
            return syntax.Template((inner,), at)
        if char == "[":
            return self._list()
        if char == "{":
            return self._object()
        if not self.is_identifier():
            raise self.error(f"Invalid expression: expected the start of one, found {char!r}.")
        name = self.identifier()
        while self.take("::"):
            name += "::" + self.identifier()
        if self.peek("("):
            return self._call(name, at)
        if name in _KEYWORDS:
            return syntax.Literal(_KEYWORDS[name], at)
        return syntax.Name(name, at)

    def _number(self) -> Any:
        start = self.at
        text = self.text

        def digits() -> None:
            while self.at < len(text) and text[self.at] in "0123456789":
                self.at += 1

        digits()
        whole = True
        if self.peek(".") and text[self.at + 1 : self.at + 2].isdigit():
            whole = False
            self.at += 1
            digits()
        if text[self.at : self.at + 1] in ("e", "E"):
            rest = self.at + 1 + (text[self.at + 1 : self.at + 2] in ("+", "-"))
            if text[rest : rest + 1].isdigit():
                whole = False
                self.at = rest
                digits()
        found = text[start : self.at]
        if len(found) > 300:
            raise self.error("This number is too long.", start)
        return syntax.Literal(int(found) if whole else float(found), start)

    def _call(self, name: str, at: int) -> Any:
        self.at += 1
        arguments: list[Any] = []
        expand = False
        with self.lines(False):
            while True:
                self.blank()
                if self.take(")"):
                    return syntax.Call(name, arguments, expand, at)
                if expand:
                    raise self.error("Only the last argument of a call is expanded with '...'.")
                arguments.append(self.expression())
                self.blank()
                expand = self.take("...")
                self.blank()
                if not self.take(",") and not self.peek(")"):
                    raise self.error("Missing argument separator: a comma is required between arguments.")

    def _list(self) -> Any:
        at = self.at
        self.at += 1
        with self.lines(False):
            self.blank()
            if self._is_for():
                return self._for(at, "]")
            items: list[Any] = []
            while True:
                self.blank()
                if self.take("]"):
                    return syntax.ListOf(items, at)
                items.append(self.expression())
                self.blank()
                if not self.take(",") and not self.peek("]"):
                    raise self.error("Missing item separator: a comma is required between items of a list.")

    def _object(self) -> Any:
        at = self.at
        self.at += 1
        with self.lines(False):
            self.blank()
            if self._is_for():
                return self._for(at, "}")
        pairs: list[tuple[Any, Any]] = []
        with self.lines(True):
            while True:
                self.blank(newlines=True)
                if self.take("}"):
                    return syntax.ObjectOf(pairs, at)
                key = self._operation(0)
                if isinstance(key, syntax.Name):
                    key = syntax.Literal(key.name, key.at)
                elif isinstance(key, syntax.Literal) and (key.value is None or isinstance(key.value, bool)):
                    key = syntax.Literal({True: "true", False: "false", None: "null"}[key.value], key.at)
                self.blank()
                if not (self.take("=") or self.take(":")):
                    raise self.error("Missing attribute value: an object is { KEY = VALUE, .. }.")
                self.blank(newlines=True)
                pairs.append((key, self.expression()))
                self.blank()
                if not self.take(",") and not self.peek("}") and not self.peek("\n"):
                    raise self.error("Missing attribute separator: a newline or comma is required between attributes.")

    def _is_for(self) -> bool:
        return self.peek("for") and self.text[self.at + 3 : self.at + 4] in (" ", "\t", "\n")

    def for_names(self) -> list[str]:
        """``a in``, ``a, b in``."""
        self.blank()
        names = [self.identifier()]
        self.blank()
        if self.take(","):
            self.blank()
            names.append(self.identifier())
            self.blank()
        if not (self.is_identifier() and self.identifier() == "in"):
            raise self.error("Invalid 'for' expression: 'in' is required after the names.")
        return names

    def _for(self, at: int, end: str) -> Any:
        self.at += 3
        names = self.for_names()
        of = self.expression()
        self.blank()
        if not self.take(":"):
            raise self.error("Invalid 'for' expression: a colon is required after the collection.")
        value = self.expression()
        key = None
        group = False
        self.blank()
        if end == "}":
            if not self.take("=>"):
                raise self.error("Invalid 'for' expression: '=>' is required between key and value.")
            key, value = value, self.expression()
            self.blank()
            group = self.take("...")
            self.blank()
        test = None
        if self.peek("if") and not (self.text[self.at + 2 : self.at + 3].isalnum()):
            self.at += 2
            test = self.expression()
            self.blank()
        if not self.take(end):
            raise self.error(f"Invalid 'for' expression: extra characters before {end!r}.")
        return syntax.For(names, of, key, value, test, group, at)

    # Strings: their templates are a subject of their own.

    def _quoted(self) -> Any:
        from cais.build.hcl.templates import quoted

        return quoted(self)

    def _heredoc(self) -> Any:
        from cais.build.hcl.templates import heredoc

        return heredoc(self)

    def plain_string(self) -> str:
        """A label: no templates."""
        at = self.at
        template = self._quoted()
        if any(not isinstance(part, str) for part in template.parts):
            raise self.error("Template sequences are not allowed in this string.", at)
        return "".join(template.parts)
