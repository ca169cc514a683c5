"""A client's connection: uvicorn's protocol, which besides sends files and takes large bodies without copying them, and
loses its patience.

A client may be slow, but it has to move: with a request's head, with the bytes of its body, with those of an answer.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cais.registry.incoming import Incoming
from cais.registry.pace import Pace
from cais.registry.sending import Sending
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uvicorn._types import ASGI3Application

_HEAD_LIMIT_BYTES = 64 << 10
_BUFFERED_BYTES = 512 << 10
# After an answer that came before the end of a body, so much of the rest is read and forgotten: a client that is cut
# off while it sends may not read the answer.
_UNREAD_LIMIT_BYTES = 16 << 20
# Smaller bodies come by the parser: it is quicker with them than another way of reading is begun.
_LARGE_BODY_BYTES = 256 << 10
_REFUSAL = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Patience(NamedTuple):
    """How long a client may take for a request's head, how long it may stand still, how long it may do nothing; and how
    many bytes of a body it has to send in a second, on the average of the time in which it may stand still."""

    head_seconds: float
    body_seconds: float
    idle_seconds: float
    body_bytes_per_second: int


class Connection(HttpToolsProtocol):
    """``scope["send_file"]`` sends bytes of a file as (part of) the body, ``scope["receive_into"]`` fills a buffer with
    the next bytes of a large one, and is used instead of ``receive``: both where the connection is not encrypted."""

    def __init__(self, *arguments: Any, patience: Patience, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience
        self._in_head = False
        self._head_bytes = self._unread_bytes = 0
        # Of the body, by the parser; of all bodies, by whichever way: what stands between their bytes is no movement.
        self._parsed_bytes = self._received_bytes = 0
        self._incoming: Incoming | None = None
        self._running: RequestResponseCycle | None = None  # whose answer is under way, or was the last
        self._buffered_bytes = 0
        # When the head began; when the client last moved, and what had come and gone by then.
        self._head_began = self._moved = self.loop.time()
        self._seen: tuple[int, ...] = ()
        self._pace = Pace(patience.body_seconds, patience.body_seconds * patience.body_bytes_per_second)
        self._sending: Sending | None = None

    def data_received(self, data: bytes) -> None:
        if self._incoming is not None and self._incoming.left:
            data = self._skip(self._incoming, data)
            if not data:
                return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cycle is not None and self.cycle.body:
            # What has come of a body that broke off: uvicorn would tell of the end alone.
            self.cycle.scope["unread"] = bytes(self.cycle.body)  # type: ignore[typeddict-unknown-key]
        super().connection_lost(exc)
        self._abandon()
        if self._incoming is not None:
            self._incoming.stop()
        if self._sending is not None:
            self._sending.stop(ConnectionResetError())

    def send_400_response(self, msg: str) -> None:
        """Of the parser, where it does not understand what comes."""
        self._refuse(b"400 Bad Request")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, status: bytes) -> None:
        """The connection ends with this, but never in the middle of another answer, nor in its place: a request that
        had come before is answered, and its answer is the last."""
        running = self._running
        if running is None or running.response_complete:
            self.transport.write(_REFUSAL % status)
            self.transport.close()
        elif running is self.cycle and running.more_body:
            if not running.response_started:
                self.transport.write(_REFUSAL % status)
            self._end()
        else:
            running.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()

    def _end(self) -> None:
        """What was written goes out, and nothing more."""
        self._abandon()
        self.transport.close()

    def _abandon(self) -> None:
        """Nobody waits for the answer that is under way: it may not be the last request's, which uvicorn looks at, and
        who writes to a connection that is closed fails."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unread_bytes, self._parsed_bytes = True, 0, 0, 0
        self._head_began = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        self._buffered_bytes = _BUFFERED_BYTES
        self._pace.begin(self.loop.time(), self._received_bytes)
        if self.scheme == "http" and self.cycle is not None:
            self.cycle.scope["send_file"] = partial(self._send_file, self.cycle)  # type: ignore[typeddict-unknown-key]
            length = _length(self.headers)
            if length >= _LARGE_BODY_BYTES:
                self._buffered_bytes = 0  # no more of it comes by the parser than has to
                receive = partial(self._receive_into, self.cycle, Incoming(self.loop, self._moves), length)
                self.cycle.scope["receive_into"] = receive  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        self._parsed_bytes += len(body)
        self._received_bytes += len(body)
        super().on_body(body)
        if len(self.cycle.body) < self._buffered_bytes and not self.pipeline:
            self.flow.resume_reading()  # uvicorn stops at 64 KiB: an upload would stop and go for each of them
        if self.cycle.response_complete:
            self._forget(len(body))

    def look(self, now: float) -> None:
        """Ends the connection where the client takes too long; called every second or so."""
        cycle = self.cycle
        if self._in_head or cycle is None:
            if now - self._head_began > self._patience.head_seconds:
                self._end()
            return
        sending, incoming = self._sending, self._incoming
        waiting_to_read = cycle.more_body and not cycle.body and not self.flow.read_paused
        waiting_to_read |= incoming is not None and incoming.is_waiting
        waiting_to_write = sending is not None or self.transport.get_write_buffer_size() > 0
        seen = (
            self._received_bytes,
            self.transport.get_write_buffer_size(),
            0 if sending is None else sending.position,
            id(cycle),
        )
        if self._pace.is_too_slow(now, self._received_bytes, is_waited_for=waiting_to_read):
            self._abort()
        elif seen != self._seen:
            self._seen, self._moved = seen, now
        elif cycle.response_complete and not cycle.more_body and not waiting_to_write:
            if now - self._moved > self._patience.idle_seconds:
                self.transport.close()
        elif not waiting_to_read and not waiting_to_write:
            self._moved = now  # it waits for us
        elif now - self._moved > self._patience.body_seconds:
            self._abort()

    def _abort(self) -> None:
        self._abandon()
        self.transport.abort()

    async def _receive_into(
        self, cycle: RequestResponseCycle, incoming: Incoming, length: int, buffer: memoryview
    ) -> tuple[int, bool]:
        """How many bytes of the body, of ``length``, are in ``buffer``, and whether there may be more. None at all, and
        more: the client is gone."""
        if not incoming.has_begun:
            self._take_over(cycle, incoming, length)
        had_left = incoming.left
        if self.transport.is_closing():
            incoming.stop()
        count = await incoming.fill(buffer, self.transport.get_extra_info("socket").fileno())
        if had_left and not incoming.left:
            cycle.more_body = False
        if had_left and (incoming.is_broken or not incoming.left) and not self.transport.is_closing():
            self.flow.resume_reading()  # to hear of the next request, or of the end
        return count, incoming.has_more

    def _take_over(self, cycle: RequestResponseCycle, incoming: Incoming, length: int) -> None:
        """From now on the body does not come by the parser; a new one begins behind it."""
        if cycle.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        incoming.begin(cycle.body, length - self._parsed_bytes if cycle is self.cycle else 0)
        cycle.body = bytearray()
        if incoming.left and not self.transport.is_closing():
            self._incoming = incoming
            self.flow.pause_reading()
            self.parser = httptools.HttpRequestParser(self)

    def _moves(self, count: int) -> None:
        self._received_bytes += count

    def _skip(self, incoming: Incoming, data: bytes) -> bytes:
        """What stands behind a body that was answered before it had come."""
        rest = incoming.skip(data)
        self._forget(len(data) - len(rest))
        if not incoming.left:
            self.cycle.more_body = False
        return rest

    def _forget(self, count: int) -> None:
        self._unread_bytes += count
        if self._unread_bytes > _UNREAD_LIMIT_BYTES:
            self._end()

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
            self._sending = Sending(self.loop, target, file, start, length)
            await self._sending.run()
        except OSError:
            self._abort()
        finally:
            self._sending = None
            os.close(target)
        cycle.expected_content_length -= length


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    """What the parser has found good; 0 where the body says its length in another way, or has none."""
    length = 0
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            return 0
    return length
