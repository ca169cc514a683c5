"""One file from an http(s) URL, within limits.

- The bytes are what the server stores: no encoding is asked for, none undone.
- A redirect may lead anywhere that is http(s), but not from https to http, and not from a public host to an inner one:
  whoever may choose where a redirect leads shall not choose what this machine reads from its own network. A URL that
  the user wrote himself may be inner. Credentials go to the host that they were written for only.
- Nothing that a server does or leaves undone takes for ever: see ``Limits``.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, IncompleteRead, SSLError

from cais import __version__
from cais.errors import CaisError, Cancelled, Corrupt, Denied, Failed, Invalid, NotFound, Unauthorized, Unavailable
from cais.host import http_connections
from cais.host.sockets import secured
from cais.sources import addresses
from cais.sources.urls import disposition_name, is_http, redacted, without_credentials
from cais.spec.named import NamedTuple
from cais.spec.proxies import proxy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Write = Callable[[bytes], None]

_PIECE_BYTES = 256 << 10
_LOOK_SECONDS = 0.5
_REDIRECTS = (301, 302, 303, 307, 308)


class Limits(NamedTuple):
    """``size_bytes`` of one file. In each ``window_seconds`` at least ``window_bytes`` must come, or the server stalls;
    an answer must begin within as long."""

    size_bytes: int = 16 << 30
    connect_seconds: float = 30.0
    window_seconds: float = 60.0
    window_bytes: int = 4 << 10
    redirects: int = 10


LIMITS = Limits()


class Answer(NamedTuple):
    """``status`` is 200, or 304 where the condition that was given holds. ``modified`` is Last-Modified in seconds
    since 1970, 0 where the server says none; ``name`` is that of Content-Disposition. ``digests`` are by algorithm."""

    status: int
    url: str
    etag: str = ""
    last_modified: str = ""
    modified: int = 0
    name: str = ""
    size_bytes: int = 0
    digests: Mapping[str, str] = {}


class BadResponse(Failed):
    """A status that is no success."""


def fetch(
    url: str,
    write: Write,
    *,
    headers: Mapping[str, str] | None = None,
    proxies: Mapping[str, str] | None = None,
    algorithms: tuple[str, ...] = ("sha256",),
    limits: Limits = LIMITS,
    is_inner: Callable[[str], bool] = addresses.is_inner,
    cancelled: threading.Event | None = None,
) -> Answer:
    """Gives what ``url`` has to ``write``, piece by piece. ``headers`` may hold conditions (If-None-Match).

    Setting ``cancelled`` ends it with Cancelled. Raises NotFound (404), Unauthorized (401), Denied (403; a redirect
    that is not followed), Unavailable (no answer, a stalled or failing server), Invalid (the URL, the size),
    Corrupt (cut off), Failed.
    """
    fetch = _Fetch(url, write, dict(headers or {}), dict(proxies or {}), algorithms, limits, is_inner)
    fetch.cancelled = cancelled or fetch.cancelled
    return fetch.run()


class _Fetch:
    def __init__(
        self,
        url: str,
        write: Write,
        headers: dict[str, str],
        proxies: dict[str, str],
        algorithms: tuple[str, ...],
        limits: Limits,
        is_inner: Callable[[str], bool],
    ) -> None:
        self.shown = redacted(url)
        self.url, self.user, self.password = without_credentials(url)
        self.write = write
        self.headers = headers
        self.proxies = proxies
        self.algorithms = algorithms
        self.limits = limits
        self.is_inner = is_inner
        self.public = False  # the host that the user named is a public one
        self.received = 0
        self.cancelled = threading.Event()
        self.watch: _Watch | None = None

    def run(self) -> Answer:
        url = self.url
        origin = _host_of(url)
        seen = {url}
        for number in range(self.limits.redirects + 1):
            location, answer = self._once(url, with_credentials=_host_of(url) == origin, first=number == 0)
            if answer is not None:
                return answer
            url = self._redirected(url, location)
            if url in seen:
                raise Failed(f"failed to load {self.shown}: it redirects in a circle, to {redacted(url)}")
            seen.add(url)
        raise Failed(f"failed to load {self.shown}: stopped after {self.limits.redirects} redirects")

    def _redirected(self, url: str, location: str) -> str:
        new = urljoin(url, location).partition("#")[0]
        new, user, _ = without_credentials(new)
        if not is_http(new) or not _host_of(new)[0]:
            raise Denied(
                f"failed to load {self.shown}: it redirects to {redacted(new)[:500]!r}, which is no http(s) URL"
            )
        if url.startswith("https:") and not new.startswith("https:"):
            raise Denied(f"failed to load {self.shown}: it redirects from https to {redacted(new)}")
        if user:
            raise Denied(f"failed to load {self.shown}: it redirects to a URL with credentials of its own")
        if self.public and addresses.is_inner_name(_host_of(new)[0]) and self.is_inner(_host_of(new)[0]):
            raise self._leads_inside(new)
        return new

    def _leads_inside(self, url: str) -> Denied:
        return Denied(
            f"failed to load {self.shown}: it redirects from a public host to {_host_of(url)[0]}, which is of this "
            "machine or its network",
            hint="If that is meant, write that URL in the Dockerfile.",
        )

    def _once(self, url: str, *, with_credentials: bool, first: bool) -> tuple[str, Answer | None]:
        """One request; a location, or the whole answer."""
        if self.cancelled.is_set():
            raise Cancelled(f"stopped loading {self.shown}")
        headers = {"User-Agent": f"cais/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity", **self.headers}
        if with_credentials and (self.user or self.password):
            headers.update(urllib3.make_headers(basic_auth=f"{self.user}:{self.password}"))
        proxy = proxy_of(url, self.proxies)
        self.watch = watch = _Watch(self)
        try:
            with self._pool(url, proxy, first) as pool:
                response = pool.request(
                    "GET",
                    url,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=self.limits.connect_seconds, read=self.limits.window_seconds),
                )
                try:
                    if first and proxy:
                        self.public = not addresses.is_inner_name(_host_of(url)[0])
                    location = response.headers.get("Location", "")
                    if response.status in _REDIRECTS and location:
                        return location, None
                    return "", self._read(url, response)
                finally:
                    response.close()
        except (HTTPError, OSError, ValueError) as error:
            raise self._explained(error, url, proxy)
        finally:
            watch.end()

    def _pool(self, url: str, proxy: str, first: bool) -> Any:
        """Connections that look at whom they have reached before they say anything."""
        context = secured(ssl.create_default_context())
        if proxy:
            bare, user, password = without_credentials(proxy)
            basic = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
            try:
                return urllib3.ProxyManager(bare, proxy_headers=basic, ssl_context=context, proxy_ssl_context=context)
            except HTTPError as error:
                raise Invalid(f"the proxy {redacted(proxy)} cannot be used: {error}")
        this = self

        def reached(connection: socket.socket) -> socket.socket:
            inner = this.is_inner(str(connection.getpeername()[0]))
            if first:
                this.public = not inner
            elif inner and this.public:
                connection.close()
                raise this._leads_inside(url)
            if this.watch is not None:
                this.watch.see(connection)
            return connection

        class Plain(http_connections.Plain):
            def _new_conn(self) -> socket.socket:
                return reached(super()._new_conn())

        class Secure(http_connections.Secure):
            def _new_conn(self) -> socket.socket:
                return reached(super()._new_conn())

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        manager = urllib3.PoolManager(ssl_context=context)
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
        return manager

    def _read(self, url: str, response: Any) -> Answer:
        headers = response.headers
        if response.status == 304 and self.headers:
            return Answer(304, url)
        if response.status != 200:
            raise _bad_status(self.shown, response.status, str(response.reason or ""))
        limit = self.limits.size_bytes
        length = headers.get("Content-Length", "")
        if length.isdigit() and int(length) > limit:
            raise self._oversized()
        hashes = [hashlib.new(name) for name in self.algorithms]
        size_bytes = 0
        while piece := response.read1(_PIECE_BYTES):
            size_bytes += len(piece)
            self.received += len(piece)
            if size_bytes > limit:
                raise self._oversized()
            for item in hashes:
                item.update(piece)
            self.write(piece)
            if self.cancelled.is_set():
                break
        if self.cancelled.is_set():
            raise Cancelled(f"stopped loading {self.shown}")
        if self.watch is not None and self.watch.stalled:
            raise OSError("stalled")
        if length.isdigit() and size_bytes != int(length):
            raise Corrupt(f"failed to load {self.shown}: it was cut off after {size_bytes} of {length} bytes")
        last_modified = headers.get("Last-Modified", "")
        return Answer(
            200,
            url,
            headers.get("ETag", "")[:1000],
            last_modified[:100],
            _seconds(last_modified),
            disposition_name(headers.get("Content-Disposition", "")[:2000]),
            size_bytes,
            {name: item.hexdigest() for name, item in zip(self.algorithms, hashes, strict=True)},
        )

    def _oversized(self) -> Invalid:
        return Invalid(
            f"failed to load {self.shown}: it is larger than {self.limits.size_bytes} bytes, which is the limit"
        )

    def _explained(self, error: Exception, url: str, proxy: str) -> CaisError:
        where = self.shown if url == self.url else f"{self.shown} (redirected to {redacted(url)})"
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, CaisError):
                return cause
            cause = cause.__cause__ or cause.__context__
        if self.cancelled.is_set():
            return Cancelled(f"stopped loading {self.shown}")
        if self.watch is not None and self.watch.stalled:
            return Unavailable(
                f"failed to load {where}: less than {self.limits.window_bytes} bytes came in "
                f"{self.limits.window_seconds:g} seconds: the server stalls"
            )
        if isinstance(error, IncompleteRead) or "IncompleteRead" in str(error):
            return Corrupt(f"failed to load {where}: it was cut off after {self.received} bytes")
        reason = str(getattr(error, "reason", None) or error)
        reason = _without_connection(reason)
        text = redacted(f"failed to load {where}{f' by the proxy {proxy}' if proxy else ''}: {reason}")
        if isinstance(error, SSLError) or isinstance(getattr(error, "reason", None), SSLError):
            return Unavailable(text, hint="The certificates that are trusted are those of the system.")
        return Unavailable(text)


def _without_connection(reason: str) -> str:
    """urllib3 begins with the connection object (``<..>: ``, ``Plain(host=.., port=..): ``): of no use to a user."""
    import re

    return re.sub(r"^(<[^>]*>|\w+\([^()]*\)): ", "", reason)


class _Watch:
    """Ends the connection when too little comes, whatever it is that the reader waits for."""

    def __init__(self, fetch: _Fetch) -> None:
        self.stalled = False
        self._fetch = fetch
        self._ended = threading.Event()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def see(self, connection: socket.socket) -> None:
        # A descriptor of its own: TLS takes the other over.
        self._connection = connection.dup()

    def _look(self) -> None:
        fetch, limits = self._fetch, self._fetch.limits
        before, until = fetch.received, time.monotonic() + limits.window_seconds
        while not self._ended.wait(min(_LOOK_SECONDS, limits.window_seconds)):
            if not fetch.cancelled.is_set():
                if time.monotonic() < until:
                    continue
                if fetch.received - before >= limits.window_bytes:
                    before, until = fetch.received, time.monotonic() + limits.window_seconds
                    continue
                self.stalled = True
            if self._connection is not None:
                try:
                    self._connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has ended by itself
                return

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()


def _host_of(url: str) -> tuple[str, int]:
    """Scheme and port make a host another for credentials."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", 0


def _seconds(date: str) -> int:
    """Of an HTTP date (RFC 9110, 5.6.7), since 1970; 0 where it is none."""
    try:
        return max(0, int(parsedate_to_datetime(date).timestamp())) if date else 0
    except (ValueError, OverflowError, TypeError):
        return 0


def _bad_status(url: str, status: int, reason: str) -> CaisError:
    shown = "".join(character if character.isprintable() else "?" for character in reason[:100])
    text = f"failed to load {url}: invalid response status {status} {shown}".rstrip()
    if status in (404, 410):
        return NotFound(text)
    if status == 401:
        return Unauthorized(text)
    if status == 403:
        return Denied(text)
    if status >= 500 or status == 429:
        return Unavailable(text)
    return BadResponse(text)
