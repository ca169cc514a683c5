"""Authorization: what a registry asks for, and the header that answers it.

A credential goes to the registry that it is filed under and to the token server that this registry names, over https;
over plain http only where the registry itself may be spoken to so. A token is for the scopes that it was asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from cais.errors import Denied, Invalid, Unauthorized
from cais.remote.endpoint import host_of, is_loopback, leads_here, origin_of, shown
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.remote.credentials import Login
    from cais.remote.endpoint import Endpoint

    # (method, url, headers, form) -> the JSON object of the answer
    Ask = Callable[[str, str, Mapping[str, str], bytes | None], dict[str, object]]

CLIENT_ID = "cais"
_SHORTEST_SECONDS = 60
_DEFAULT_SECONDS = 60  # distribution's "token" page: a token without expires_in lives that long
_MARGIN_SECONDS = 10.0
_TOKEN_LIMIT = 64 << 10
_CHALLENGE_LIMIT = 16 << 10


class Challenge(NamedTuple):
    """One challenge of a WWW-Authenticate header; ``kind`` is in lower case: ``basic``, ``bearer``."""

    kind: str
    parameters: Mapping[str, str]


class _Token(NamedTuple):
    header: str
    until: float

    def __repr__(self) -> str:
        return "_Token(...)"


class Authorization:
    """Of one registry. ``ask`` does one request to a token server, without redirects.

    Threads share it; each set of scopes is asked for once, by the first that needs it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        login: Callable[[], Login | None],
        ask: Ask,
        clock: Callable[[], float] = time.monotonic,
        *,
        offline: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._login_of = login
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._login: Login | None = None
        self._looked = False
        self._offline = offline
        self.identity_token = ""  # what a token server gave instead of the password, where ``offline`` asks for that

    @property
    def login(self) -> Login | None:
        """The user's, read when it is first needed."""
        if not self._looked:
            self._login, self._looked = self._login_of(), True
        return self._login

    def header(self, scopes: Sequence[str]) -> str:
        """The value for ``Authorization``, or "" where the registry has not asked for one. Raises Unauthorized."""
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return ""
            if challenge.kind == "basic":
                login = self.login
                return _basic(login) if login is not None and login.username else ""
            key = tuple(sorted(scopes))
            token = self._tokens.get(key)
            if token is None or token.until <= self._clock():
                token = self._tokens[key] = self._fetch(challenge, key)
            return token.header

    def challenged(self, header: str, scopes: Sequence[str], sent: str) -> bool:
        """Takes the WWW-Authenticate of a 401; returns whether it is worth to ask once more.

        ``sent`` is the header that was refused: a token that is refused before its time is fetched anew.
        """
        challenge = _chosen(parse_challenges(header))
        if challenge is None:
            return False
        with self._lock:
            self._challenge = challenge
            if challenge.kind == "basic":
                return not sent and self.login is not None and bool(self.login.username)
            key = tuple(sorted(scopes))
            if key in self._tokens and self._tokens[key].header == sent:
                del self._tokens[key]
            return True

    def _fetch(self, challenge: Challenge, scopes: Sequence[str]) -> _Token:
        login = self.login
        if login is not None and login.registry_token:
            return _Token(f"Bearer {login.registry_token}", self._clock() + 3600)
        realm = self._realm(challenge, login)
        scopes = scopes or tuple(challenge.parameters.get("scope", "").split())
        service = challenge.parameters.get("service", "")
        from urllib.parse import urlencode

        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(scopes),
                "refresh_token": login.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._ask("POST", realm, headers, urlencode(form).encode())
        else:
            query = [("service", service)] if service else []
            query += [("scope", scope) for scope in scopes]
            headers = {}
            if login is not None and login.username:
                query.append(("account", login.username))
                headers["Authorization"] = _basic(login)
                if self._offline:
                    query += [("client_id", CLIENT_ID), ("offline_token", "true")]
            url = realm + ("&" if "?" in realm else "?") + urlencode(query) if query else realm
            answer = self._ask("GET", url, headers, None)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token or len(token) > _TOKEN_LIMIT or not _is_header_text(token):
            raise Unauthorized(f"{origin_of(realm)} gave no token for {self._endpoint.registry}")
        identity = answer.get("refresh_token")
        if self._offline and isinstance(identity, str) and len(identity) <= _TOKEN_LIMIT:
            self.identity_token = identity
        seconds = answer.get("expires_in")
        lives = seconds if isinstance(seconds, int | float) and seconds > 0 else _DEFAULT_SECONDS
        return _Token(f"Bearer {token}", self._clock() + max(min(lives, 86400), _SHORTEST_SECONDS) - _MARGIN_SECONDS)

    def _realm(self, challenge: Challenge, login: Login | None) -> str:
        realm = challenge.parameters.get("realm", "")
        try:
            origin = origin_of(realm)
        except Invalid as error:
            raise Denied(f"{self._endpoint.registry} names a token server that is none: {error.message}")
        endpoint = self._endpoint
        own = host_of(endpoint.address)
        if leads_here(origin.host, endpoint.address):
            raise Denied(f"{endpoint.registry} names a token server on this machine ({shown(realm)}): not asked")
        if origin.scheme == "https" or is_loopback(origin.host):
            return realm
        if not endpoint.is_private or (login is not None and origin.host != own):
            raise Denied(f"{endpoint.registry} names the token server {shown(realm)}, which is plain http: not asked")
        return realm


def _basic(login: Login) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"{login.username}:{login.password}".encode()).decode()


def _is_header_text(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _chosen(challenges: Sequence[Challenge]) -> Challenge | None:
    """A token rather than the password with each request, where both would do."""
    for kind in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.kind == kind:
                return challenge
    return None


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of WWW-Authenticate (RFC 9110 section 11.6.1), as far as they can be understood."""
    import re

    found: list[Challenge] = []
    parameters: dict[str, str] = {}
    pattern = re.compile(
        r'\s*,?\s*(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))'
        r"|([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?=\s|,|$))"
    )
    text, position = header[:_CHALLENGE_LIMIT], 0
    while match := pattern.match(text, position):
        if match.end() == position:
            break
        position = match.end()
        name, quoted, plain, scheme = match.groups()
        if scheme is not None:
            parameters = {}
            found.append(Challenge(scheme.lower(), parameters))
        else:
            parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
    return found
