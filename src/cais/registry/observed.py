"""What stands around the registry's application: request ids, the access log, counts, health and readiness.

An ASGI application around another one. The inner one says who asks by ``scope[WHO]``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time

from cais.registry.access_log import AccessLog, Answered
from cais.registry.counts import Counts, exposition, route_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

WHO = "cais.who"
REQUEST_ID = "cais.request_id"
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,100}")
_PUBLISH_SECONDS = 1.0


class Observed:
    """``failing`` says which parts cannot be reached now (an empty list: ready); it is called in a thread.

    ``metrics_path`` is where the counts are served to anybody who asks ("": nowhere). ``stopping`` is set by who ends
    the process: from then on it is not ready, and does all the rest.
    """

    def __init__(
        self, application: Application, *, log: AccessLog, counts: Counts, failing: Callable[[], Awaitable[list[str]]],
        metrics_path: str = "",
    ) -> None:  # fmt: skip
        self.stopping = False
        self._application = application
        self._log = log
        self._counts = counts
        self._failing = failing
        self._metrics_path = metrics_path
        self._prefix, self._number = os.urandom(6).hex(), 0
        self._publishing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        path: str = scope["path"]
        if path == "/healthz":
            await _answer(send, 200, b'{"status":"alive"}\n')
        elif path == "/readyz":
            await self._answer_ready(send)
        elif path == self._metrics_path and path:
            body, kind = await asyncio.to_thread(exposition, self._counts)
            await _answer(send, 200, body, kind)
        else:
            await self._observe(scope, receive, send, path)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        started = time.perf_counter()
        request_id, agent = b"", b""
        for name, value in scope["headers"]:
            if name == b"user-agent":
                agent = value
            elif name == b"x-request-id" and _SANE_ID.fullmatch(value):
                request_id = value
        if not request_id:
            self._number += 1
            request_id = b"%s-%x" % (self._prefix.encode(), self._number)
        scope[REQUEST_ID] = request_id.decode()
        status, received, sent, whole = 499, 0, 0, False  # as nginx says: the client went away before an answer

        async def watched_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def watched_send(message: Message) -> None:
            nonlocal status, sent, whole
            kind = message["type"]
            if kind == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            elif kind == "http.response.body":
                sent += len(message.get("body", b""))
                whole = not message.get("more_body", False)
            await send(message)

        send_file = scope.get("send_file")
        if send_file is not None:

            async def watched_send_file(file: int, start: int, length: int) -> None:
                nonlocal sent
                await send_file(file, start, length)
                sent += length

            scope["send_file"] = watched_send_file
        receive_into = scope.get("receive_into")
        if receive_into is not None:

            async def watched_receive_into(buffer: memoryview) -> tuple[int, bool]:
                nonlocal received
                count, more = await receive_into(buffer)
                received += count
                return count, more

            scope["receive_into"] = watched_receive_into
        method: str = scope["method"]
        counts = self._counts
        counts.running += 1
        try:
            await self._application(scope, receive if method in ("GET", "HEAD") else watched_receive, watched_send)
        except Exception:
            status = 500
            raise
        finally:
            counts.running -= 1
            seconds = time.perf_counter() - started
            counts.answered(method, route_of(path), status, seconds, received, sent)
            lost = self._log.lost
            client = scope.get("client")
            self._log.write(
                Answered(
                    scope[REQUEST_ID], client[0] if client else "", method, path, status, received, sent, seconds,
                    scope.get(WHO, ""), agent.decode("latin-1"), whole,
                )
            )  # fmt: skip
            if self._log.lost != lost:
                counts.add("log_lines_lost")
            if not self._publishing:
                self._publishing = True
                asyncio.get_running_loop().call_later(_PUBLISH_SECONDS, self._publish)

    def _publish(self) -> None:
        self._publishing = False
        self._counts.publish()

    async def _answer_ready(self, send: Send) -> None:
        failing = ["stopping"] if self.stopping else await self._failing()
        text = {"status": "not ready", "failing": failing} if failing else {"status": "ready"}
        await _answer(send, 503 if failing else 200, json.dumps(text).encode() + b"\n")


async def _answer(send: Send, status: int, body: bytes, kind: str = "application/json") -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    headers.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
