"""A proxy of HTTP that does to requests what a test asks for: errors, cut connections, lost answers, slowness."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = str
"""What is done to one request:

``""``      it is passed on
``"503"``   (or another number) this is answered, and nothing passed on
``"cut"``   the connection is closed, and nothing passed on
``"lost"``  it is passed on and done, and the connection closed instead of the answer
``"half"``  half of the answer's body, then the connection is closed
``"hang"``  no answer until the test is over
``"slow"``  passed on after a quarter of a second
"""


class FaultyProxy(ThreadingHTTPServer):
    """``fault`` is asked for each request (its method and path); ``counted`` are how many had which."""

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port = target_port
        self.fault: Callable[[str, str], Fault] = lambda method, path: ""
        self.counted: dict[Fault, int] = {}
        self.stopped = threading.Event()
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_fault(self, method: str, path: str) -> Fault:
        with self._lock:
            fault = self.fault(method, path)
            self.counted[fault] = self.counted.get(fault, 0) + 1
        return fault

    def handle_error(self, *_: object) -> None:
        pass  # a client that went away


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def setup(self) -> None:
        super().setup()
        self.upstream = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=30)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def handle_one(self) -> None:
        fault = self.server.next_fault(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "slow":
            self.server.stopped.wait(0.25)
        elif fault == "hang":
            self.server.stopped.wait()
            self.close_connection = True
            return
        elif fault == "cut":
            self.close_connection = True
            return
        elif fault.isdigit():
            said = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>as the test asks</Message></Error>"
            self._head(int(fault), [("Content-Length", str(len(said)))])
            self.wfile.write(said)
            return
        self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            self.upstream.putheader(name, value)
        self.upstream.endheaders(body or None)
        answer = self.upstream.getresponse()
        said = answer.read()
        if fault == "lost":
            self.close_connection = True
            return
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
        if not any(name.lower() == "content-length" for name, _ in headers):
            headers.append(("Content-Length", str(len(said))))
        self._head(answer.status, headers)
        if self.command != "HEAD":
            self.wfile.write(said[: len(said) // 2] if fault == "half" else said)
        if fault == "half" or answer.will_close:
            self.close_connection = True

    def _head(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def between(target_port: int) -> Iterator[FaultyProxy]:
    """A proxy before that port of the loopback; passes everything on until the test sets ``fault``."""
    proxy = FaultyProxy(target_port)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopped.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
