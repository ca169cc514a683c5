"""A file, straight to the socket of who wants it: nothing copies it, and nobody waits for a disk but a thread."""

from __future__ import annotations

import os
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

# What the kernel is asked to send at once: more would keep other clients waiting.
_AT_ONCE_BYTES = 1 << 20
# While so much is sent, the next portion is read; the first one is smaller, as a client waits for it.
_FIRST_BYTES, _PORTION_BYTES = 512 << 10, 8 << 20


class Sending:
    """``length`` bytes of the descriptor ``file``, from ``start`` on; ``position`` is the next one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int, file: int, start: int, length: int) -> None:
        self._loop, self._target, self._file = loop, target, file
        self.position, self._stop = start, start + length
        self._is_near = True
        self._error: OSError | None = None
        self._sent: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Returns when the kernel has all of it. Raises OSError: the client is gone, the file is too short."""
        size = _FIRST_BYTES
        fetched = self._fetch(self.position, size)
        while self.position < self._stop:
            if fetched is not None:
                await fetched
            stop = min(self.position + size, self._stop)
            size = min(2 * size, _PORTION_BYTES)
            fetched = self._fetch(stop, size)
            await self._send_before(stop)

    def stop(self, error: OSError) -> None:
        """``run`` raises it."""
        self._error = self._error or error
        if self._sent is not None and not self._sent.done():
            self._sent.set_exception(error)

    def _fetch(self, start: int, size: int) -> asyncio.Future[None] | None:
        """Brings these bytes into the kernel's memory. None where they are there: once some are not, others behind
        them will not be either, and the kernel has read ahead only a little."""
        size = min(size, self._stop - start)
        self._is_near = self._is_near and (size <= 0 or _is_in_memory(self._file, start))
        if self._is_near or size <= 0:
            return None
        # A number of its own: the file may be closed before the thread is done.
        return self._loop.run_in_executor(None, _read, os.dup(self._file), start, size)

    async def _send_before(self, stop: int) -> None:
        if self._error is not None:
            raise self._error
        self._sent = self._loop.create_future()
        self._loop.add_writer(self._target, partial(self._send, self._sent, stop))
        try:
            await self._sent
        finally:
            self._loop.remove_writer(self._target)

    def _send(self, done: asyncio.Future[None], stop: int) -> None:
        """Called whenever the socket takes more."""
        if done.done():
            return
        try:
            sent = os.sendfile(self._target, self._file, self.position, min(_AT_ONCE_BYTES, stop - self.position))
        except BlockingIOError:
            return
        except OSError as error:
            self.stop(error)
            return
        self.position += sent
        if not sent:
            self.stop(OSError("the file is shorter than its blob"))
        elif self.position >= stop:
            done.set_result(None)


def _is_in_memory(file: int, position: int) -> bool:
    try:
        return os.preadv(file, [bytearray(1)], position, os.RWF_NOWAIT) > 0
    except OSError:  # it is not, or this file system does not say so
        return False


def _read(file: int, start: int, size: int) -> None:
    """As a reader in order does: what the kernel is only advised to read it keeps in single pages, each of which takes
    longer to send than what it reads ahead by itself. Errors are found by who sends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while size > 0 and (count := os.sendfile(nowhere, file, start, size)):
                start, size = start + count, size - count
        finally:
            os.close(nowhere)
    except OSError:
        pass
    finally:
        os.close(file)
