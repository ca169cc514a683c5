"""Transport: requests to one registry, and what every one of them needs.

Its scheme, its credentials, time limits, retries of what is worth it, redirects that take no credential to another
host. Bodies are streams: who asked reads them, within his own limits (``answers.read_document`` for small ones).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError

from cais import __version__
from cais.errors import CaisError, Denied, Unavailable
from cais.host.threads import sleep
from cais.remote import answers
from cais.remote.authorization import Authorization
from cais.remote.connections import Connections
from cais.remote.credentials import Login
from cais.remote.endpoint import Endpoint, host_of, joined, leads_here, origin_of, shown
from cais.spec.encoding import decode_object
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    Body = bytes | Callable[[], Iterator[bytes]]  # that can be sent again from its beginning

_REDIRECTS = (301, 302, 303, 307, 308)
# Of a registry that stores what it was sent, hashes it again and copies it elsewhere.
_SLOWEST_BYTES_PER_SECOND = 10 << 20
# The size of a body that goes in chunks (RFC 9112 section 7.1).
UNKNOWN = -1
_AGAIN = (408, 429, 500, 502, 503, 504)


class Limits(NamedTuple):
    """``attempts`` of one request; between them at most ``wait_seconds``, whatever Retry-After says."""

    connect_seconds: float = 30.0
    read_seconds: float = 60.0
    attempts: int = 5
    first_wait_seconds: float = 0.25
    wait_seconds: float = 60.0
    redirects: int = 5
    token_bytes: int = 256 << 10


LIMITS = Limits()


class Transport:
    """To one registry; threads share it. ``wait`` sleeps between attempts. Of ``certificates`` and ``proxies``:
    ``Connections``. ``offline``: a token server is asked for an identity token, too. ``warned`` is told each time what
    the registry warns of."""

    def __init__(
        self,
        endpoint: Endpoint,
        login: Callable[[], Login | None] = lambda: None,
        *,
        certificates: Sequence[str] = (),
        proxies: Mapping[str, str] | None = None,
        limits: Limits = LIMITS,
        wait: Callable[[float], None] = sleep,
        offline: bool = False,
        warned: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.warned = warned
        self._wait = wait
        self._authorization = Authorization(endpoint, login, self._ask_for_token, offline=offline)
        self._lock = threading.Lock()
        self._first = threading.Lock()
        self._has_answered = False
        self._scheme = endpoint.schemes[0] if len(endpoint.schemes) == 1 else ""
        self._connections = Connections(endpoint, certificates, proxies or {})

    def __repr__(self) -> str:
        return f"Transport({self.endpoint.registry})"

    def request(
        self,
        method: str,
        path: str,
        *,
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size_bytes: int = 0,
        accepted: Sequence[int] = (200,),
        again: bool = True,
    ) -> BaseHTTPResponse:
        """The answer, if its status is ``accepted``; its body is still to be read, and it is to be closed.

        ``path`` begins with ``/v2/`` (or ``/v1/``), or is a whole URL that this registry gave. ``size_bytes`` is that
        of a body that is an iterator, or UNKNOWN. ``again``: a failure that may pass is tried again. Raises the error
        that the answer is: NotFound, Denied, Unauthorized, Unavailable (no answer, a failing server), ...
        """
        return self._tried(
            lambda: self._authorized(method, path, scopes, dict(headers or {}), body, size_bytes),
            accepted,
            str(self.endpoint.registry),
            again=again,
        )

    def _url(self, path: str) -> str:
        """The URL of a path (``/v2/...``), or of a Location that this registry gave. Raises Denied, Invalid."""
        base = self._base(self._settled())
        if path.startswith(("/v2/", "/v1/")):
            return base + path
        url = joined(f"{base}/v2/", path)
        if (
            url.startswith("http:")
            and base.startswith("https:")
            and origin_of(url).host == host_of(self.endpoint.address)
        ):
            # A registry behind a proxy that does not know how it was reached.
            url = f"https://{self.endpoint.address}/" + url.split("/", 3)[3]
        self._check_lead(base, url)
        return url

    def _check_lead(self, base: str, url: str) -> None:
        """Raises Denied where a registry at ``base`` leads out of TLS, or from elsewhere to this machine."""
        origin = origin_of(url)
        if base.startswith("https:") and origin.scheme != "https":
            raise Denied(f"{self.endpoint.registry} leads from https to {shown(url)}: not followed")
        if leads_here(origin.host, self.endpoint.address):
            raise Denied(f"{self.endpoint.registry} leads to this machine ({shown(url)}): not followed")

    def _is_own(self, url: str) -> bool:
        """Whether a URL is of the registry itself, so that its credentials may go there."""
        return origin_of(url) == origin_of(self._base(self._settled()))

    def document(
        self,
        path: str,
        limit_bytes: int,
        what: str,
        *,
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[bytes, Mapping[str, str]]:
        """The whole small body of a GET, and the answer's headers; what breaks off is asked for again.

        Raises what ``request`` and ``answers.read_document`` raise.
        """
        for attempt in range(1, self.limits.attempts + 1):
            with self.request("GET", path, scopes=scopes, headers=headers) as response:
                try:
                    return answers.read_document(response, limit_bytes, what), response.headers
                except Unavailable:
                    if attempt == self.limits.attempts:
                        raise
            self.pause(attempt)
        raise AssertionError("unreachable")

    def ping(self) -> str:
        """Whether this registry lets this user in; an identity token to keep instead of the password, or "".

        Raises Unauthorized, Unavailable, ...
        """
        self._drain(self.request("GET", "/v2/"))
        return self._authorization.identity_token

    def pause(self, attempt: int, error: CaisError | None = None) -> None:
        """Waits before the next attempt, longer after each, or as long as ``error`` says; raises it if that is long."""
        if not isinstance(error, answers.NotNow):
            self._wait(self._pause(attempt))
        elif error.seconds > self.limits.wait_seconds:
            raise error
        else:
            self._wait(error.seconds)

    def close(self) -> None:
        """Closes the connections that wait for further requests."""
        self._connections.close()

    def _authorized(
        self, method: str, path: str, scopes: Sequence[str], headers: dict[str, str], body: Body | None, size_bytes: int
    ) -> BaseHTTPResponse:
        """One request, and once more with what the registry asked for.

        The first of all is alone: what it learns (a challenge) all others know, and need not be told one by one.
        """
        with self._first:
            if not self._has_answered:
                response = self._asked(method, path, scopes, headers, body, size_bytes)
                self._has_answered = True
                return response
        return self._asked(method, path, scopes, headers, body, size_bytes)

    def _asked(
        self, method: str, path: str, scopes: Sequence[str], headers: dict[str, str], body: Body | None, size_bytes: int
    ) -> BaseHTTPResponse:
        if callable(body):
            self._settled()
        response = self._settle(method, path, headers, body)
        url = self._url(path)
        own = self._is_own(url)
        sent = ""
        for last in (False, True):
            if response is None:
                sent = self._authorization.header(scopes) if own else ""
                if sent:
                    headers["Authorization"] = sent
                response = self._followed(method, url, headers, body, size_bytes)
            if response.status != 401 or not own or last:
                break
            asked = ", ".join(response.headers.getlist("WWW-Authenticate"))
            if not self._authorization.challenged(asked, scopes, sent):
                break
            self._drain(response)
            response = None
        assert response is not None
        if own and "Warning" in response.headers:
            for text in answers.warnings(response.headers.getlist("Warning")):
                self.warned(text)
        return response

    def _followed(
        self, method: str, url: str, headers: dict[str, str], body: Body | None, size_bytes: int
    ) -> BaseHTTPResponse:
        """One request, with its redirects; to another origin without the credentials, and what that one says of
        credentials is not the registry's word."""
        seen, origin = {url}, origin_of(url)
        while True:
            response = self._once(method, url, headers, body, size_bytes)
            if origin_of(url) != origin:
                response.headers.discard("WWW-Authenticate")
                response.headers.discard("Warning")
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return response
            self._drain(response)
            new = joined(url, location)
            self._check_lead(url, new)
            if new in seen or len(seen) > self.limits.redirects:
                raise Unavailable(f"{self.endpoint.registry} redirects without end, to {shown(new)}")
            seen.add(new)
            if origin_of(new) != origin_of(url):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = new

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, size_bytes: int
    ) -> BaseHTTPResponse:
        all_headers = {"User-Agent": f"cais/{__version__}", "Accept-Encoding": "identity", **headers}
        data: object = body
        if callable(body):
            data = body()
            if size_bytes != UNKNOWN:
                all_headers["Content-Length"] = str(size_bytes)
        try:
            response = self._connections.to(url).request(
                method,
                url,
                headers=all_headers,
                body=data,  # type: ignore[arg-type]
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self.limits.connect_seconds, read=self._patience(size_bytes)),
            )
            if method == "HEAD" or response.status == 204 or response.headers.get("Content-Length") == "0":
                # It has no body: its connection is the next request's. (Read to its end, it must not close itself.)
                if isinstance(response, urllib3.HTTPResponse):
                    response.auto_close = False
                response.drain_conn()
            return response
        except CaisError:
            raise
        except (HTTPError, OSError, ValueError) as error:
            raise self._explained(error, method, url)
        finally:
            if data is not body and hasattr(data, "close"):
                data.close()

    def _patience(self, size_bytes: int) -> float:
        """In seconds: who was sent much may be busy with it for a while before he answers."""
        return self.limits.read_seconds + max(0, size_bytes) / _SLOWEST_BYTES_PER_SECOND

    def _settled(self) -> str:
        """The scheme; asked for with a request that has no other use, where none was answered yet."""
        response = self._settle("GET", "/v2/", {}, None)
        if response is not None:
            self._drain(response)
        return self._scheme

    def _settle(self, method: str, path: str, headers: dict[str, str], body: Body | None) -> BaseHTTPResponse | None:
        """Finds out which of the endpoint's schemes is understood, by a request that needs no credentials yet.

        Returns its answer; None where the scheme is known. Of a server of TLS the answer to plain http is 400.
        """
        with self._lock:
            if self._scheme:
                return None
            problem: _Broken | None = None
            refused: BaseHTTPResponse | None = None
            for scheme in self.endpoint.schemes:
                try:
                    response = self._followed(method, self._base(scheme) + path, headers, body, 0)
                except _Broken as broken:
                    problem = broken if broken.speaks_tls else problem or broken
                    if broken.is_refused:
                        break  # nobody is there, whatever is spoken
                    continue
                if scheme == "http" and response.status == 400 and "https" in self.endpoint.schemes[1:]:
                    refused = response
                    continue
                self._scheme = scheme
                return response
            if refused is not None and not (problem is not None and problem.speaks_tls):
                self._scheme = "http"
                return refused
            assert problem is not None
            raise problem

    def _base(self, scheme: str) -> str:
        return f"{scheme}://{self.endpoint.address}"

    def _ask_for_token(
        self, method: str, url: str, headers: Mapping[str, str], form: bytes | None
    ) -> dict[str, object]:
        where = str(origin_of(url))
        with self._tried(lambda: self._once(method, url, headers, form, 0), (200,), where) as response:
            raw = answers.read_document(response, self.limits.token_bytes, f"the answer of {where}")
        return decode_object(raw, f"the answer of {where}", self.limits.token_bytes)

    def _tried(
        self, send: Callable[[], BaseHTTPResponse], accepted: Sequence[int], where: str, *, again: bool = True
    ) -> BaseHTTPResponse:
        """The answer, once it is ``accepted``: what may pass is tried again, after a pause. Raises what it is else."""
        for attempt in range(1, self.limits.attempts + 1):
            last = attempt == self.limits.attempts or not again
            try:
                response = send()
            except _Broken as broken:
                if last or not broken.may_pass:
                    raise broken.error
                self._wait(self._pause(attempt))
                continue
            if response.status in accepted:
                return response
            said = self._refusal_body(response)
            asked = answers.retry_after(response.headers.get("Retry-After", ""), time.time())
            pause = self._pause(attempt) if asked is None else asked
            if response.status not in _AGAIN or last or pause > self.limits.wait_seconds:
                raise answers.refusal(response.status, said, where, asked)
            self._wait(pause)
        raise AssertionError("unreachable")

    def _refusal_body(self, response: BaseHTTPResponse) -> bytes:
        with response:
            try:
                return answers.read_document(response, answers.ERROR_LIMIT_BYTES, "the answer")
            except (CaisError, HTTPError, OSError, ValueError):
                return b""

    def _drain(self, response: BaseHTTPResponse) -> None:
        """Reads a short body, so that the connection can be used again; one that is not short is closed."""
        self._refusal_body(response)

    def _pause(self, attempt: int) -> float:
        """In seconds: twice as long each time, and never the same for two clients."""
        longest = min(self.limits.first_wait_seconds * (1 << attempt - 1), self.limits.wait_seconds)
        return longest * (0.5 + random.random() / 2)

    def _explained(self, error: Exception, method: str, url: str) -> _Broken:
        from cais.remote.failures import explained, is_plain_answer

        reason = getattr(error, "reason", None)
        refused = isinstance(error, NewConnectionError) or isinstance(reason, NewConnectionError)
        secure = isinstance(error, SSLError) or isinstance(reason, SSLError)
        return _Broken(
            explained(error, method, shown(url)),
            may_pass=not refused and not secure,
            is_refused=refused,
            speaks_tls=secure and not is_plain_answer(str(error)),
        )


class _Broken(Exception):
    """No answer came."""

    def __init__(self, error: CaisError, *, may_pass: bool, is_refused: bool, speaks_tls: bool) -> None:
        super().__init__(str(error))
        self.speaks_tls = speaks_tls  # who answered has TLS, and something about it is wrong
        self.error = error
        self.may_pass = may_pass
        self.is_refused = is_refused
