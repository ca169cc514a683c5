"""A client's connection: uvicorn's protocol, which besides can send files without copying them."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

# What the kernel is asked to send at once: more would keep other clients waiting.
_AT_ONCE_BYTES = 1 << 20


class Connection(HttpToolsProtocol):
    """``scope["send_file"]`` sends bytes of a file as (part of) the body, where the connection is not encrypted."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.scheme == "http" and self.cycle is not None:
            self.cycle.scope["send_file"] = partial(self._send_file, self.cycle)  # type: ignore[typeddict-unknown-key]

    async def _send_file(self, cycle: RequestResponseCycle, file: int, start: int, length: int) -> None:
        """Returns when the kernel has all of it, or the client is gone."""
        # What was written before (the head) must be out: it goes another way.
        while self.transport.get_write_buffer_size() and not cycle.disconnected:
            await asyncio.sleep(0)
        if cycle.disconnected or self.transport.is_closing():
            return
        # A number of its own: the loop watches the transport's already.
        target = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            await _Sending(self.loop, target, file, start, length).done
        except OSError:
            self.transport.abort()
        finally:
            os.close(target)
        cycle.expected_content_length -= length


class _Sending:
    """Sends whenever the socket takes more; ``done`` is a future."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int, file: int, start: int, length: int) -> None:
        self._loop, self._target, self._file = loop, target, file
        self._position, self._stop = start, start + length
        self.done: asyncio.Future[None] = loop.create_future()
        self.done.add_done_callback(lambda _: loop.remove_writer(target))
        loop.add_writer(target, self._send)

    def _send(self) -> None:
        if self.done.done():
            return
        try:
            wanted = min(_AT_ONCE_BYTES, self._stop - self._position)
            sent = os.sendfile(self._target, self._file, self._position, wanted)
        except BlockingIOError:
            return
        except OSError as error:
            self.done.set_exception(error)
            return
        self._position += sent
        if not sent:
            self.done.set_exception(OSError("the file is shorter than its blob"))
        elif self._position >= self._stop:
            self.done.set_result(None)
