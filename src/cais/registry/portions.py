"""The body of an upload in portions: while one is hashed and written, the next one comes in."""

from __future__ import annotations

import mmap

from cais.registry.call import Disconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.registry.call import Call

# What is hashed and written at once: the larger, the fewer times one thread waits for another; of all bodies that come
# in at a time so much is held in memory, twice.
_LEAST_BYTES, _MOST_BYTES = 64 << 10, 4 << 20
_HELD_BYTES = 8 << 20


class Portions:
    """A portion may be looked at until the one after the next is asked for. Those of a large body begin with a page,
    and all but the last end with one: a store may want that."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._buffers: list[memoryview] = []
        self._piece = memoryview(b"")  # what of a piece the last portion did not take
        self._comes_more, self._is_broken = True, False

    async def next(self) -> tuple[memoryview, bool]:
        """The next portion, and whether there may be more. Raises Disconnected, when all that came was handed out."""
        receive_into = self._call.receive_into
        if receive_into is None:
            return await self._gathered()
        buffer = self._buffer()
        count, more = await receive_into(buffer)
        if more and not count:
            raise Disconnected
        return buffer[:count], more

    async def _gathered(self) -> tuple[memoryview, bool]:
        buffer, count = memoryview(b""), 0
        while True:
            if not self._piece:
                await self._take()
                if not count and not self._comes_more and len(self._piece) <= _MOST_BYTES:
                    return self._piece, False
            buffer = buffer or self._buffer()
            end = min(len(buffer), count + len(self._piece))
            buffer[count:end] = self._piece[: end - count]
            # A slice of nothing would hold the whole piece.
            self._piece = self._piece[end - count :] if end - count < len(self._piece) else memoryview(b"")
            count = end
            if self._is_broken and count:
                return buffer[:count], True
            if count == len(buffer) or not (self._piece or self._comes_more):
                return buffer[:count], self._comes_more or len(self._piece) > 0

    async def _take(self) -> None:
        """The next piece. Raises Disconnected, the second time."""
        try:
            piece, self._comes_more = await self._call.piece()
            self._piece = memoryview(piece)
        except Disconnected:
            if self._is_broken:
                raise
            self._is_broken = True

    def _buffer(self) -> memoryview:
        """One of two, in turn; of another length where more requests, or fewer, share the memory by now."""
        size = _MOST_BYTES
        while size > _LEAST_BYTES and size * self._call.load.requests > _HELD_BYTES:
            size //= 2
        buffer = self._buffers.pop(0) if len(self._buffers) == 2 else memoryview(b"")
        if len(buffer) != size:
            buffer = memoryview(mmap.mmap(-1, size))
        self._buffers.append(buffer)
        return buffer
