"""A server of the standard library that answers as a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.seen.append(self)
        self.server.answer(self)

    do_CONNECT = do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        """Underscores in names of headers stand for dashes."""
        self.send_response(status)
        headers = {"Connection": "close", "Content_Length": str(len(body)), **headers}
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """``seen`` are the requests. ``stopped`` is set when the test is over: what never ends waits for it."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Request], None], host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Request)
        self.answer = answer
        self.seen: list[Request] = []
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass  # a client that went away


@contextmanager
def serving(answer: Callable[[Request], None], host: str = "127.0.0.1") -> Iterator[Server]:
    server = Server(answer, host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def files(contents: dict[str, bytes]) -> Callable[[Request], None]:
    """Answers with files by path, with an ETag that is known again."""

    def answer(request: Request) -> None:
        import hashlib

        body = contents.get(request.path.partition("?")[0])
        if body is None:
            request.reply(b"no such file", 404)
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            request.reply(status=304, ETag=etag)
        else:
            request.reply(body, ETag=etag, Last_Modified="Sun, 06 Nov 1994 08:49:37 GMT")

    return answer
