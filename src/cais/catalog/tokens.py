"""Tokens: what the token endpoint signs and each request shows again. JWTs, Ed25519, ours alone.

A token says who it is for and which actions on which repositories it allows, for some minutes; nothing else is asked
when it comes back. It is believed only with our algorithm, under a key of ours that its ``kid`` names, from our issuer,
for our service and in its time. Neither the algorithm nor a key is taken from the token.

https://distribution.github.io/distribution/spec/auth/jwt/
"""

from __future__ import annotations

import secrets
import threading
import time

from cais.catalog.rules import ANONYMOUS, Subject
from cais.catalog.scopes import Scope
from cais.errors import Unauthorized
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    class Keys(Protocol):
        """Where keys are: ``cais.catalog.keys``."""

        def signing(self) -> SigningKey: ...

        def verifying(self, kid: str) -> Ed25519PublicKey | None:
            """None: there is no such key (any more)."""
            ...

        def has(self, kid: str) -> bool:
            """Whether that key is known here and now; this never waits."""
            ...


ALGORITHM = "EdDSA"
SIZE_LIMIT = 16 << 10  # characters; no header line is longer
CLOCKS_DIFFER_SECONDS = 10
_REQUIRED = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti")
_REMEMBERED = 4096


class BadToken(Unauthorized):
    """A token that is not to be believed, or not any more. It says nothing of why that helps who made it up."""


class SigningKey(NamedTuple):
    """``kid`` names it in tokens."""

    kid: str
    private: Ed25519PrivateKey


class Claims(NamedTuple):
    """What a token that was verified says. ``expires`` in seconds since the epoch."""

    subject: Subject
    scopes: tuple[Scope, ...]
    expires: float
    id: str

    def allows(self, kind: str, name: str, action: str) -> bool:
        return any(scope.kind == kind and scope.name == name and action in scope.actions for scope in self.scopes)


class Signed(NamedTuple):
    """A new token, and its time as the endpoint's answer says it: seconds, and since the epoch."""

    token: str
    lasts_seconds: int
    issued: int

    def __repr__(self) -> str:
        return f"Signed(lasts_seconds={self.lasts_seconds})"


class Tokens:
    """Signs and verifies for one ``service``, which is the issuer and the audience. Safe in several threads.

    A token that was verified once is remembered until it expires, so that the signature costs the first request only.
    """

    def __init__(self, keys: Keys, service: str, lasts_seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._service, self._lasts = keys, service, lasts_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._verified: dict[str, tuple[Claims, str]] = {}

    def sign(self, subject: Subject, scopes: Sequence[Scope]) -> Signed:
        import jwt

        key = self._keys.signing()
        now = int(self._clock())
        claims = {
            "iss": self._service,
            "sub": str(subject),
            "aud": self._service,
            "exp": now + self._lasts,
            "nbf": now,
            "iat": now,
            "jti": secrets.token_urlsafe(12),
            "access": [{"type": scope.kind, "name": scope.name, "actions": [*scope.actions]} for scope in scopes],
        }
        return Signed(jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid}), self._lasts, now)

    def remembered(self, token: str) -> Claims | None:
        """What a token says that was verified before; None where that must be done (again). This never waits."""
        known = self._verified.get(token)
        if known is None:
            return None
        claims, kid = known
        if claims.expires > self._clock() and self._keys.has(kid):
            return claims
        with self._lock:
            self._verified.pop(token, None)
        return None

    def verify(self, token: str) -> Claims:
        """Raises BadToken, Unavailable (the keys cannot be read)."""
        known = self.remembered(token)
        if known is not None:
            return known
        claims, kid = self._checked(token)
        with self._lock:
            self._verified[token] = (claims, kid)
            while len(self._verified) > _REMEMBERED:
                del self._verified[next(iter(self._verified))]
        return claims

    def _checked(self, token: str) -> tuple[Claims, str]:
        import jwt

        if len(token) > SIZE_LIMIT:
            raise BadToken("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            key = self._keys.verifying(kid) if isinstance(kid, str) and header.get("alg") == ALGORITHM else None
            if key is None:
                raise BadToken("the token is not signed by a key of this registry")
            # Its times are compared below, with the clock that signs.
            read = jwt.decode(
                token, key, algorithms=[ALGORITHM], audience=self._service, issuer=self._service,
                options={
                    "require": [*_REQUIRED], "strict_aud": True,
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                },
            )  # fmt: skip
            claims = _read(read)
            begins = _moment(read["nbf"])
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
            raise BadToken("the token is not valid")
        now = self._clock()
        if claims.expires <= now:
            raise BadToken("the token has expired")
        if begins > now + CLOCKS_DIFFER_SECONDS:
            raise BadToken("the token is not valid yet")
        return claims, str(kid)


def _read(claims: dict[str, Any]) -> Claims:
    """Raises ValueError and others: signed or not, it is what came over the wire."""
    scopes = tuple(
        Scope(str(item["type"]), str(item["name"]), tuple(map(str, item["actions"]))) for item in claims["access"]
    )
    name = str(claims["sub"])
    kind, colon, rest = name.partition(":")
    subject = Subject(kind, rest) if colon else Subject(ANONYMOUS) if name == ANONYMOUS else Subject.parse(name)
    return Claims(subject, scopes, _moment(claims["exp"]), str(claims["jti"]))


def _moment(value: object) -> float:
    """Seconds since the epoch as we write them. Raises TypeError for infinity, for one."""
    if type(value) is not int:
        raise TypeError
    return float(value)
