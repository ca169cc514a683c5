"""Connections: pools of them by where they lead, each with the TLS, the proxy and the time limits of its host."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Mapping, Sequence

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from cais.errors import Invalid
from cais.host import http_connections
from cais.remote.endpoint import Endpoint, Origin, origin_of
from cais.remote.tls import context_of
from cais.spec.proxies import proxy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any


class Connections:
    """Of one registry, and of the hosts that it leads to. ``certificates`` are directories as ``certs.d``, ``proxies``
    the variables of ``spec.proxies``. Threads share it."""

    def __init__(self, endpoint: Endpoint, certificates: Sequence[str], proxies: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._certificates = certificates
        self._proxies = proxies
        self._lock = threading.Lock()
        self._pools: dict[Origin, urllib3.PoolManager] = {}

    def to(self, url: str) -> urllib3.PoolManager:
        """Raises Invalid, Denied where certificates cannot be read."""
        origin = origin_of(url)
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._made(origin, url)
            return self._pools[origin]

    def close(self) -> None:
        """Closes those that wait for further requests."""
        for pool in self._pools.values():
            pool.clear()

    def _made(self, origin: Origin, url: str) -> urllib3.PoolManager:
        context: ssl.SSLContext | None = None
        if origin.scheme == "https":
            host = str(origin).partition("://")[2]
            own = host == self._endpoint.address or origin_of(f"https://{self._endpoint.address}") == origin
            context = context_of(
                self._certificates,
                self._endpoint.registry if own else host,
                verify=self._endpoint.verify or not own,
                also_trusted=self._endpoint.registry,
            )
        # More than one pool for each thread of a copy; what a server closed is opened again.
        options: dict[str, Any] = {"num_pools": 2, "maxsize": 8, "ssl_context": context}
        proxy = proxy_of(url, self._proxies)
        if proxy:
            pool = _proxied(proxy, options)
        else:
            pool = urllib3.PoolManager(**options)
        pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return pool


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(proxy)
    headers = None
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=secret)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        return urllib3.ProxyManager(bare, proxy_headers=headers, **options)
    except (urllib3.exceptions.HTTPError, ValueError):
        raise Invalid(f"the proxy {bare[:200]!r} cannot be used") from None


class _Bounded:
    """The head of an answer comes within twice the time that one may wait for a byte, or the connection ends: a server
    that sends a byte from time to time would never be given up."""

    def getresponse(self) -> Any:
        sock, seconds = self.sock, self.timeout  # type: ignore[attr-defined]
        if sock is None or not isinstance(seconds, int | float):
            return super().getresponse()  # type: ignore[misc]
        # A thread that nobody waits for: threading's would be waited for until it has begun.
        answered = _thread.allocate_lock()
        answered.acquire()
        over = threading.Event()
        _thread.start_new_thread(_end_unless, (answered, 2 * seconds, sock, over))
        try:
            response = super().getresponse()  # type: ignore[misc]
        finally:
            answered.release()
        if over.is_set():  # half a head looks like a whole one
            raise TimeoutError
        return response


def _end_unless(answered: _thread.LockType, seconds: float, sock: Any, over: threading.Event) -> None:
    if answered.acquire(timeout=seconds):
        return
    import socket

    over.set()
    try:
        # Not that of TLS, which would wait for the other side.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass


class _Plain(_Bounded, http_connections.Plain):
    pass


class _Secure(_Bounded, http_connections.Secure):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure

    def _validate_conn(self, conn: Any) -> None:
        """Without a warning where no certificate is verified: the settings say so, and the user wrote them."""
        if conn.is_closed:
            conn.connect()
