"""Connections to servers, as a client whose threads can be told to stop (``host.threads``).

A system call that waits hears of no other thread. So no call waits long: what takes longer is asked for again, until
the time is over that was set for it.
"""

from __future__ import annotations

import _thread
import os
import select
import socket
import ssl
import time
from collections.abc import Sequence

from cais.host.threads import SLICE_SECONDS, check_stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Options = Sequence[tuple[int, int, int | bytes]]


class Socket(socket.socket):
    """Each of its waits ends with Cancelled where the thread is told to stop, and with TimeoutError when the time is
    over that ``settimeout`` was told."""

    _seconds: float | None = None

    def settimeout(self, value: float | None) -> None:
        self._seconds = value
        super().settimeout(SLICE_SECONDS if value is None else min(value, SLICE_SECONDS))

    def gettimeout(self) -> float | None:
        return self._seconds

    def connect(self, address: Any) -> None:
        try:
            super().connect(address)
        except TimeoutError as error:
            if error.errno is not None:
                raise
            self._patiently(self._await_connection)

    def recv(self, *arguments: Any) -> bytes:
        return bytes(self._patiently(super().recv, *arguments))

    def recv_into(self, *arguments: Any) -> int:
        return int(self._patiently(super().recv_into, *arguments))

    def send(self, *arguments: Any) -> int:
        return int(self._patiently(super().send, *arguments))

    def sendall(self, data: Any, flags: int = 0) -> None:
        with memoryview(data) as view, view.cast("B") as left:
            sent = 0
            while sent < len(left):
                sent += self.send(left[sent:], flags)

    def _patiently(self, attempt: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.monotonic()
        while True:
            try:
                return attempt(*arguments)
            except TimeoutError as error:
                # The kernel's own has a number, and is the connection's end.
                if error.errno is not None or (self._seconds is not None and time.monotonic() - begun >= self._seconds):
                    raise
            check_stopped()

    def _await_connection(self) -> None:
        poll = select.poll()
        poll.register(self, select.POLLOUT)
        if not poll.poll(SLICE_SECONDS * 1000):
            raise TimeoutError("timed out")
        if code := self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))


class SecureSocket(Socket, ssl.SSLSocket):
    """With TLS. What made it must have set its time, as ``connected`` does."""

    def do_handshake(self, *arguments: Any) -> None:
        self._patiently(super().do_handshake, *arguments)


def secured(context: ssl.SSLContext) -> ssl.SSLContext:
    """``context``, whose sockets are of this kind from now on."""
    context.sslsocket_class = SecureSocket
    return context


def connected(
    host: str,
    port: int,
    timeout_seconds: float | None,
    options: Options = (),
    family: int = socket.AF_UNSPEC,
) -> Socket:
    """To the first of a host's addresses that answers. ``timeout_seconds`` is for each.

    Raises socket.gaierror, TimeoutError, OSError; Cancelled in a thread that is told to stop.
    """
    problem: OSError | None = None
    for its_family, kind, protocol, _, address in _addresses(host, port, family):
        made = Socket(its_family, kind, protocol)
        try:
            for option in options:
                made.setsockopt(*option)
            made.settimeout(timeout_seconds)
            made.connect(address)
            return made
        except OSError as error:
            made.close()
            problem = error
        except BaseException:
            made.close()
            raise
    try:
        raise problem or OSError("the host has no address")
    finally:
        problem = None  # it holds this frame, which holds it


def _addresses(host: str, port: int, family: int) -> list[Any]:
    """As getaddrinfo(3), which nothing ends while it waits: where it has to ask, a thread does that may be left."""
    try:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    found: list[Any] = []
    failed: list[BaseException] = []
    waits = _thread.allocate_lock()
    waits.acquire()

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        except BaseException as error:
            failed.append(error)
        finally:
            waits.release()

    # Not threading's, which counts as running for a moment after its end.
    _thread.start_new_thread(ask, ())
    while not waits.acquire(timeout=SLICE_SECONDS):
        check_stopped()
    if failed:
        raise failed[0]
    return found
