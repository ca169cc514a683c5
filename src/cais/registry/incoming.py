"""A large body, from the socket straight into the buffers of who wants it: no parser sees it, and nothing copies it."""

from __future__ import annotations

import asyncio
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Incoming:
    """One body: ``left`` bytes of it are to be read from the socket, by nobody else. ``moved`` hears how many have."""

    def __init__(self, loop: asyncio.AbstractEventLoop, moved: Callable[[int], None]) -> None:
        self._loop, self._moved = loop, moved
        self.has_begun = self.is_broken = False
        self.left = 0
        self._early = memoryview(b"")
        self._room = memoryview(b"")
        self._filled: asyncio.Future[None] | None = None

    def begin(self, early: bytes | bytearray, left: int) -> None:
        """``early`` is what has come already, by another way."""
        self._early, self.left, self.has_begun = memoryview(early), left, True

    @property
    def has_more(self) -> bool:
        return self.left > 0 or len(self._early) > 0

    @property
    def is_waiting(self) -> bool:
        """Whether the client is waited for."""
        return self._filled is not None

    async def fill(self, buffer: memoryview, source: int) -> int:
        """Fills ``buffer`` from the socket ``source``; how many bytes are in it then: fewer than it takes where the
        body ends or breaks off."""
        early = min(len(buffer), len(self._early))
        buffer[:early] = self._early[:early]
        self._early = self._early[early:] if early < len(self._early) else memoryview(b"")  # which holds no bytes
        self._room = buffer[early : early + self.left]
        end = early + len(self._room)
        if self._room and not self.is_broken:
            # A number of its own: the loop watches the transport's already, and may close it at any moment.
            watched = os.dup(source)
            self._filled = self._loop.create_future()
            try:
                self._receive(watched)  # mostly something is there already
                if not self._filled.done():
                    self._loop.add_reader(watched, self._receive, watched)
                    await self._filled
            finally:
                self._filled = None
                self._loop.remove_reader(watched)
                os.close(watched)
        return end - len(self._room)

    def skip(self, data: bytes) -> bytes:
        """What of ``data`` stands behind the body, of which nobody wants more."""
        skipped = min(len(data), self.left)
        self.left -= skipped
        self._moved(skipped)
        return data[skipped:]

    def stop(self) -> None:
        """The client is gone."""
        self.is_broken = True
        if self._filled is not None and not self._filled.done():
            self._filled.set_result(None)

    def _receive(self, source: int) -> None:
        try:
            count = os.readv(source, [self._room])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.stop()
            return
        self.left -= count
        self._moved(count)
        self._room = self._room[count:]
        if not self._room and self._filled is not None and not self._filled.done():
            self._filled.set_result(None)
