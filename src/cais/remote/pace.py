"""Pace: whether a server that keeps sending sends enough. One byte a minute would keep its client for years."""

from __future__ import annotations

import time

WINDOW_BYTES = 4 << 10


class Pace:
    """Of one body: in each ``window_seconds`` at least ``WINDOW_BYTES`` have to come."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._begun = time.monotonic()
        self._came = 0

    def is_too_slow(self, size_bytes: int) -> bool:
        """Notes that so many bytes came just now."""
        self._came += size_bytes
        now = time.monotonic()
        if now - self._begun < self._window_seconds:
            return False
        too_slow = self._came < WINDOW_BYTES
        self._begun, self._came = now, 0
        return too_slow
