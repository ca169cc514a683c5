"""Strings of HCL: what is quoted, here documents, and the expressions and directives in them."""

from __future__ import annotations

from collections.abc import Sequence

from cais.build.hcl import syntax
from cais.build.hcl.expressions import Expressions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def quoted(reader: Expressions) -> syntax.Template:
    """From the opening quote to behind the closing one."""
    at = reader.at
    reader.at += 1
    parts = _Parts(reader, len(reader.text), quoted=True).all()
    if not reader.take('"'):
        raise reader.error("Unterminated template string: there is no closing quote.", at)
    return syntax.Template(parts, at)


def whole(reader: Expressions) -> syntax.Template:
    """All of the text, without quotes and escapes, as the strings of the JSON form are."""
    return syntax.Template(_Parts(reader, len(reader.text), quoted=False).all(), 0)


def heredoc(reader: Expressions) -> syntax.Template:
    """``<<MARK`` and ``<<-MARK``, up to the line of the mark."""
    at = reader.at
    reader.at += 2
    flush = reader.take("-")
    mark = reader.identifier("A mark is required after '<<'.")
    if not reader.take("\n"):
        raise reader.error("Invalid heredoc: a newline is required after its mark.")
    start = end = reader.at
    for line in reader.text[start:].splitlines(keepends=True):
        if line.strip() == mark:
            break
        end += len(line)
    else:
        raise reader.error(f"Unterminated heredoc: there is no line {mark}.", at)
    margin = _margin(reader.text[start:end]) if flush else 0
    parts = _Parts(reader, end, quoted=False, margin=margin).all()
    reader.at = end + reader.text[end:].index(mark) + len(mark)
    return syntax.Template([*parts, ""], at)  # a string, even where it is one expression


def _margin(text: str) -> int:
    """How many blanks all lines begin with; a line without anything has no say."""
    said = [line for line in text.splitlines() if line.strip()]
    return min((len(line) - len(line.lstrip(" \t")) for line in said), default=0)


class _Parts:
    """The parts of a template up to ``end``: texts, expressions, directives."""

    def __init__(self, reader: Expressions, end: int, *, quoted: bool, margin: int = 0) -> None:
        self._reader = reader
        self._end = end
        self._quoted = quoted
        self._margin = margin
        self._begun: set[int] = set()  # lines whose margin is gone
        self._strip = False  # the text that follows loses the blanks that it begins with

    def all(self) -> list[Any]:
        parts, word = self._until()
        if word:
            raise self._reader.error(f"Unexpected {word} directive: nothing is open that it belongs to.")
        return parts

    def _until(self) -> tuple[list[Any], str]:
        """Up to the end, or behind a directive that closes something, which is returned."""
        reader = self._reader
        parts: list[Any] = []
        with reader.deeper():
            while True:
                text = self._text()
                at = reader.at
                if at < self._end and (reader.take("${") or reader.take("%{")):
                    if reader.take("~"):
                        # Of a heredoc each line is a text of its own.
                        text = text.rstrip() if self._quoted or text.endswith("\n") else text.rstrip(" \t")
                    if text:
                        parts.append(text)
                    if reader.text[at] == "$":
                        with reader.lines(False):
                            parts.append(reader.expression())
                        self._close("template interpolation sequence")
                        continue
                    word = self._directive(parts, at)
                    if word:
                        return parts, word
                    continue
                if text:
                    parts.append(text)
                return parts, ""

    def _text(self) -> str:
        reader, text = self._reader, self._reader.text
        found: list[str] = []
        strip, self._strip = self._strip, False
        if strip and not self._quoted:
            while reader.at < self._end and text[reader.at] in " \t":
                reader.at += 1
            if reader.at < self._end and reader.take("\n"):
                self._begun.add(reader.at)  # as with HCL, the margin of the line that was joined stays
        while reader.at < self._end:
            at, char = reader.at, text[reader.at]
            if self._margin and text[at - 1] == "\n" and at not in self._begun:
                self._begun.add(at)
                reader.at += len(text[at : at + self._margin]) - len(text[at : at + self._margin].lstrip(" \t"))
                continue
            if reader.peek("$${") or reader.peek("%%{"):
                found.append(text[at + 1 : at + 3])
                reader.at += 3
            elif reader.peek("${") or reader.peek("%{") or (self._quoted and char == '"'):
                break
            elif self._quoted and char == "\n":
                raise reader.error("Invalid multi-line string: use the heredoc syntax for one.")
            elif self._quoted and char == "\\":
                found.append(self._escape())
            else:
                found.append(char)
                reader.at += 1
        joined = "".join(found)
        return joined.lstrip() if strip and self._quoted else joined

    def _escape(self) -> str:
        reader = self._reader
        char = reader.text[reader.at + 1 : reader.at + 2]
        if char in ("u", "U"):
            size = 4 if char == "u" else 8
            digits = reader.text[reader.at + 2 : reader.at + 2 + size]
            try:
                value = chr(int(digits, 16)) if len(digits) == size and digits.isalnum() else ""
            except (ValueError, OverflowError):
                value = ""
            if value:
                reader.at += 2 + size
                return value
        elif char in _ESCAPES:
            reader.at += 2
            return _ESCAPES[char]
        raise reader.error(f"Invalid escape sequence: there is no \\{char}.")

    def _close(self, what: str) -> None:
        reader = self._reader
        with reader.lines(False):
            reader.blank()
        self._strip = reader.take("~")
        if not reader.take("}"):
            raise reader.error(f"Extra characters after the expression of a {what}: a closing brace is required here.")

    def _directive(self, parts: list[Any], at: int) -> str:
        """Reads ``%{ .. }``; of one that opens something, all of it. Returns the word of one that closes."""
        reader = self._reader
        with reader.lines(False):
            reader.blank()
            word = reader.identifier("A directive is required here: if, else, endif, for or endfor.")
            if word == "if":
                test = reader.expression()
            elif word == "for":
                names = reader.for_names()
                of = reader.expression()
        self._close("template directive")
        if word in ("else", "endif", "endfor"):
            return word
        if word == "if":
            yes, closed = self._until()
            no: Sequence[Any] = ()
            if closed == "else":
                no, closed = self._until()
            self._closed(closed, "endif", at)
            parts.append(syntax.TemplateIf(test, yes, no, at))
        elif word == "for":
            inner, closed = self._until()
            self._closed(closed, "endfor", at)
            parts.append(syntax.TemplateFor(names, of, inner, at))
        else:
            raise reader.error(f"Invalid template directive: {word!r} is none of if, else, endif, for, endfor.", at)
        return ""

    def _closed(self, word: str, wanted: str, at: int) -> None:
        if word != wanted:
            raise self._reader.error(f"Unclosed template directive: there is no {wanted} for it.", at)
