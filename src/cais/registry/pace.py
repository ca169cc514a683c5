"""Pace: whether a client that keeps sending sends enough. A byte a minute would keep its connection for years."""

from __future__ import annotations


class Pace:
    """Of one connection, body by body: while ``window_seconds`` are waited for it, at least ``least_bytes`` come.

    What passes while the client waits for us is not counted, nor is what it sends meanwhile held against it. Times are
    those of any steady clock, in seconds.
    """

    __slots__ = ("_began_bytes", "_least_bytes", "_looked", "_waited_seconds", "_window_seconds")

    def __init__(self, window_seconds: float, least_bytes: float) -> None:
        self._window_seconds, self._least_bytes = window_seconds, least_bytes
        self._looked = self._waited_seconds = 0.0
        self._began_bytes = 0

    def begin(self, now: float, received_bytes: int) -> None:
        """A body begins; ``received_bytes`` have come by this connection before."""
        self._looked, self._waited_seconds, self._began_bytes = now, 0.0, received_bytes

    def is_too_slow(self, now: float, received_bytes: int, *, is_waited_for: bool) -> bool:
        """Asked now and then: ``received_bytes`` have come by now, and more of the body is waited for, or not."""
        if is_waited_for:
            self._waited_seconds += now - self._looked
        self._looked = now
        if self._waited_seconds < self._window_seconds:
            return False
        is_too_slow = received_bytes - self._began_bytes < self._least_bytes
        self._waited_seconds, self._began_bytes = 0.0, received_bytes
        return is_too_slow
