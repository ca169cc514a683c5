"""How Go's ``fmt`` prints values: the image history of BuildKit is made of it."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
}  # fmt: skip


def quoted(text: str) -> str:
    """``%q`` of a string."""
    return '"' + _escaped(text, '"') + '"'


def quoted_list(texts: Iterable[str]) -> str:
    """``%q`` of a slice of strings: ``["a" "b"]``."""
    return "[" + " ".join(map(quoted, texts)) + "]"


def quoted_number(number: int) -> str:
    """``%q`` of an integer, which Go takes for a character."""
    return "'" + _escaped(chr(number) if 0 <= number < 0x110000 else "\ufffd", "'") + "'"


def plain_list(texts: Iterable[str]) -> str:
    """``%v`` of a slice of strings: ``[a b]``."""
    return "[" + " ".join(texts) + "]"


def _escaped(text: str, quote: str) -> str:
    if text.isprintable() and "\\" not in text and quote not in text:
        return text
    pieces: list[str] = []
    for char in text:
        if char == quote:
            pieces.append("\\" + char)
        elif char in _ESCAPES:
            pieces.append(_ESCAPES[char])
        elif char.isprintable():
            pieces.append(char)
        else:
            code = ord(char)
            if code < 0x80:
                pieces.append(f"\\x{code:02x}")
            elif 0xDC80 <= code <= 0xDCFF:
                pieces.append(f"\\x{code - 0xDC00:02x}")
            else:
                pieces.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(pieces)
