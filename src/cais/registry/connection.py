"""A client's connection: uvicorn's protocol, which besides sends files without copying them, and loses its patience.

A client may be slow, but it has to move: with a request's head, with the bytes of its body, with those of an answer.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What the kernel is asked to send at once: more would keep other clients waiting.
_AT_ONCE_BYTES = 1 << 20
# The kernel is told so much ahead what will be sent, so that sending does not wait for a disk.
_AHEAD_BYTES = 8 << 20
_HEAD_LIMIT_BYTES = 64 << 10
_BUFFERED_BYTES = 512 << 10
# After an answer that came before the end of a body, so much of the rest is read and forgotten: a client that is cut
# off while it sends may not read the answer.
_UNREAD_LIMIT_BYTES = 16 << 20
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Patience(NamedTuple):
    """How long a client may take for a request's head, how long it may stand still, how long it may do nothing."""

    head_seconds: float
    body_seconds: float
    idle_seconds: float


class Connection(HttpToolsProtocol):
    """``scope["send_file"]`` sends bytes of a file as (part of) the body, where the connection is not encrypted."""

    def __init__(self, *arguments: Any, patience: Patience, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience
        self._in_head = False
        self._head_bytes = self._received_bytes = self._unread_bytes = 0
        # When the head began; when the client last moved, and what had come and gone by then.
        self._head_began = self._moved = self.loop.time()
        self._seen: tuple[int, ...] = ()
        self._sending: _Sending | None = None

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES:
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cycle is not None and self.cycle.body:
            # What has come of a body that broke off: uvicorn would tell of the end alone.
            self.cycle.scope["unread"] = bytes(self.cycle.body)  # type: ignore[typeddict-unknown-key]
        super().connection_lost(exc)
        if self._sending is not None:
            self._sending.stop(ConnectionResetError())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unread_bytes = True, 0, 0
        self._head_began = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        if self.scheme == "http" and self.cycle is not None:
            self.cycle.scope["send_file"] = partial(self._send_file, self.cycle)  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if len(self.cycle.body) < _BUFFERED_BYTES and not self.pipeline:
            self.flow.resume_reading()  # uvicorn stops at 64 KiB: an upload would stop and go for each of them
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > _UNREAD_LIMIT_BYTES:
                self.transport.close()

    def look(self, now: float) -> None:
        """Ends the connection where the client takes too long; called every second or so."""
        cycle = self.cycle
        if self._in_head or cycle is None:
            if now - self._head_began > self._patience.head_seconds:
                self.transport.close()
            return
        sending = self._sending
        waiting_to_read = cycle.more_body and not cycle.body and not self.flow.read_paused
        waiting_to_write = sending is not None or self.transport.get_write_buffer_size() > 0
        seen = (
            self._received_bytes,
            self.transport.get_write_buffer_size(),
            0 if sending is None else sending.position,
            id(cycle),
        )
        if seen != self._seen:
            self._seen, self._moved = seen, now
        elif cycle.response_complete and not cycle.more_body and not waiting_to_write:
            if now - self._moved > self._patience.idle_seconds:
                self.transport.close()
        elif not waiting_to_read and not waiting_to_write:
            self._moved = now  # it waits for us
        elif now - self._moved > self._patience.body_seconds:
            self.transport.abort()

    async def _send_file(self, cycle: RequestResponseCycle, file: int, start: int, length: int) -> None:
        """Returns when the kernel has all of it, or the client is gone."""
        # What was written before (the head) must be out: it goes another way.
        pause_seconds = 0.0
        while self.transport.get_write_buffer_size() and not cycle.disconnected:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(0.05, pause_seconds + 0.002)
        if cycle.disconnected or self.transport.is_closing():
            return
        # A number of its own: the loop watches the transport's already.
        target = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            self._sending = _Sending(self.loop, target, file, start, length)
            await self._sending.done
        except OSError:
            self.transport.abort()
        finally:
            self._sending = None
            self.loop.remove_writer(target)
            os.close(target)
        cycle.expected_content_length -= length


class _Sending:
    """Sends whenever the socket takes more; ``done`` is a future, ``position`` the next byte of the file."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int, file: int, start: int, length: int) -> None:
        self._target, self._file = target, file
        self.position, self._stop = start, start + length
        self._announced = start
        self.done: asyncio.Future[None] = loop.create_future()
        loop.add_writer(target, self._send)

    def stop(self, error: OSError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def _send(self) -> None:
        if self.done.done():
            return
        if self._announced < self._stop and self._announced - self.position < _AHEAD_BYTES // 2:
            ahead = min(_AHEAD_BYTES, self._stop - self._announced)
            os.posix_fadvise(self._file, self._announced, ahead, os.POSIX_FADV_WILLNEED)
            self._announced += ahead
        try:
            wanted = min(_AT_ONCE_BYTES, self._stop - self.position)
            sent = os.sendfile(self._target, self._file, self.position, wanted)
        except BlockingIOError:
            return
        except OSError as error:
            self.stop(error)
            return
        self.position += sent
        if not sent:
            self.stop(OSError("the file is shorter than its blob"))
        elif self.position >= self._stop:
            self.done.set_result(None)
