"""A proxy of TCP that loses answers: what was asked for is done, and who asked does not learn it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FaultyTcp:
    """Passes everything on. After ``lose(marker)`` the connection on which ``marker`` is sent next is closed when the
    other side has answered it. ``accepted`` counts connections."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._marker = b""
        self.lost = self.accepted = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, marker: bytes) -> None:
        with self._lock:
            self._marker = marker

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:
            client.close()
            return
        self._open |= {client, server}
        swallow = threading.Event()
        back = threading.Thread(target=self._answers, args=(client, server, swallow), daemon=True)
        back.start()
        try:
            while data := client.recv(65536):
                with self._lock:
                    if self._marker and self._marker in data:
                        self._marker = b""
                        swallow.set()
                server.sendall(data)
        except OSError:
            pass
        _end(server)
        back.join()
        self._open -= {client, server}

    def _answers(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        try:
            while data := server.recv(65536):
                if swallow.is_set():
                    self.lost += 1
                    break
                client.sendall(data)
        except OSError:
            pass
        _end(client)


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()


@contextmanager
def losing(target_port: int) -> Iterator[FaultyTcp]:
    """A proxy before that port of the loopback."""
    proxy = FaultyTcp(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
