"""Text that others wrote (names of processes, labels, commands of images): quoted, or harmless for a terminal."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_SHORT = {"\\": "\\\\", '"': '\\"', "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
          "\v": "\\v"}  # fmt: skip


def quoted(text: str) -> str:
    """As Go's ``strconv.Quote``: in double quotes, with no control character left."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    if letter.isprintable():
        return letter
    number = ord(letter)
    if number < 0x80:
        return f"\\x{number:02x}"
    if 0xDC80 <= number < 0xDD00:
        return f"\\x{number - 0xDC00:02x}"  # a byte that is not UTF-8
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def put(text: str, stream: TextIO | None = None) -> None:
    """To standard output, or ``stream``: as it is to a file, to a terminal nothing that moves its cursor or answers."""
    stream = stream or sys.stdout
    if stream.isatty() and not text.replace("\n", "").replace("\t", "").isprintable():
        from cais.cli.harmless import harmless

        text = "\n".join(map(harmless, text.split("\n")))
    stream.write(text)
