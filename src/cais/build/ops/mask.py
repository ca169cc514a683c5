"""Secrets in what a step says are replaced, also where one comes in several pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable

REPLACEMENT = b"***"
# What is shorter stands in too much that is no secret.
VALUE_LIMIT_BYTES = 4
LINE_LIMIT_BYTES = 8
_PROBE_BYTES = 4


def patterns_of(values: Iterable[bytes]) -> list[bytes]:
    """What is replaced: each value without the blanks around it, and each longer line of one that has several."""
    found: set[bytes] = set()
    for value in values:
        value = value.strip()
        if len(value) >= VALUE_LIMIT_BYTES:
            found.add(value)
        lines = [line.strip() for line in value.split(b"\n")]
        if len(lines) > 1:
            found.update(line for line in lines if len(line) >= LINE_LIMIT_BYTES)
    return sorted(found, key=len, reverse=True)


class Mask:
    """One stream: ``feed`` what comes, and show what comes back; ``rest`` at its end."""

    def __init__(self, patterns: list[bytes]) -> None:
        self._patterns = patterns
        self._search = re.compile(b"|".join(map(re.escape, patterns)))
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What may be the beginning of a secret is kept until more has come."""
        text = self._kept + data
        cut = len(text) - max((_beginning(text, pattern) for pattern in self._patterns), default=0)
        shown, position = self._masked(text, cut)
        cut = max(cut, position)
        self._kept = text[cut:]
        return shown + text[position:cut]

    def rest(self) -> bytes:
        """After the last piece."""
        text, self._kept = self._kept, b""
        shown, position = self._masked(text, len(text))
        return shown + text[position:]

    def _masked(self, text: bytes, cut: int) -> tuple[bytes, int]:
        """What is shown of ``text`` up to the last secret that begins before ``cut``, and where that ends."""
        pieces: list[bytes] = []
        position = 0
        for found in self._search.finditer(text):
            if found.start() >= cut:
                break
            pieces += (text[position : found.start()], REPLACEMENT)
            position = found.end()
        return b"".join(pieces), position


def _beginning(text: bytes, pattern: bytes) -> int:
    """How many bytes at the end of ``text`` are the beginning of ``pattern``, at most."""
    start = max(0, len(text) - len(pattern) + 1)
    probe = pattern[:_PROBE_BYTES]
    found = text.find(probe, start)
    while found >= 0:
        if pattern.startswith(text[found:]):
            return len(text) - found
        found = text.find(probe, found + 1)
    for length in range(min(_PROBE_BYTES - 1, len(text)), 0, -1):
        if text.endswith(pattern[:length]):
            return length
    return 0
