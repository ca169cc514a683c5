"""Signing keys: made when one is needed, kept in the records for all replicas, rotated so that two overlap.

A key signs for a while, and verifies until its last token has expired. A replica that meets a ``kid`` it does not know
looks into the records, so that a key can be used the moment it is made.

Where a secret is given, keys are encrypted by it in the records: who reads these, or a backup, can sign nothing. Keys
from before that verify until they end, and sign no more.
"""

from __future__ import annotations

import threading
import time

from cais.catalog.tokens import SigningKey
from cais.errors import Unavailable
from cais.records import signing_keys as rows
from cais.records.signing_keys import Key
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from sqlalchemy import Connection

    from cais.catalog.settings import AccessSettings
    from cais.records.database import Database

_FRESH_SECONDS = 60.0  # so long a replica believes in what it has read
_LOOKS_SECONDS = 1.0  # kids that are made up do not make it read more often
_SPARE_SECONDS = 60.0


class _Loaded(NamedTuple):
    """``signing`` None: no key may sign now."""

    at: float
    signing: SigningKey | None
    signs_until: float
    verifying: dict[str, tuple[Ed25519PublicKey, float]]


class SigningKeys:
    """The keys as this process knows them. Safe in several threads."""

    def __init__(
        self, database: Database, token_seconds: float, rotate_seconds: float,
        clock: Callable[[], float] = time.time, *, secret: str = "",
    ) -> None:  # fmt: skip
        self._secret = secret.encode()
        self._database, self._clock = database, clock
        self._token_seconds, self._rotate_seconds = token_seconds, rotate_seconds
        self._lock = threading.Lock()
        self._loaded = _Loaded(0.0, None, 0.0, {})

    def signing(self) -> SigningKey:
        """The newest; a new one is made where there is none. Raises Unavailable (the records, another secret)."""
        now = self._clock()
        loaded = self._loaded
        if loaded.signing is None or loaded.signs_until <= now or not self._fresh(loaded, now):
            loaded = self._load()
            if loaded.signing is None:
                self._database.write(self._make)
                loaded = self._load()
        assert loaded.signing is not None
        return loaded.signing

    def verifying(self, kid: str) -> Ed25519PublicKey | None:
        now = self._clock()
        loaded = self._loaded
        known = loaded.verifying.get(kid)
        if not self._fresh(loaded, now) or (known is None and now - loaded.at > _LOOKS_SECONDS):
            try:
                known = self._load().verifying.get(kid)
            except Unavailable:
                if known is None:
                    raise
        return known[0] if known is not None and known[1] > now else None

    def has(self, kid: str) -> bool:
        known = self._loaded.verifying.get(kid)
        return known is not None and known[1] > self._clock()

    def rotate(self, *, forget: bool = False) -> str:
        """A new key signs from now on; its kid. ``forget``: what the others signed is worth nothing any more."""
        now = self._clock()

        def write(connection: Connection) -> str:
            if forget:
                rows.remove_all(connection)
            else:
                rows.retire(connection, now, now + self._token_seconds + _SPARE_SECONDS)
            return self._add(connection, now)

        kid = self._database.write(write)
        self._load()
        return kid

    def all(self) -> list[Key]:
        """The newest first."""
        with self._database.reading() as connection:
            return rows.all(connection)

    def _fresh(self, loaded: _Loaded, now: float) -> bool:
        return 0 <= now - loaded.at < _FRESH_SECONDS

    def _load(self) -> _Loaded:
        with self._lock:
            now = self._clock()
            verifying: dict[str, tuple[Ed25519PublicKey, float]] = {}
            signing, signs_until = None, 0.0
            for key in self.all():
                private = _private(key.private_pem, self._secret)
                verifying[key.kid] = (private.public_key(), key.verifies_until_unix)
                if signing is None and self._may_sign(key, now):
                    signing, signs_until = SigningKey(key.kid, private), key.signs_until_unix
            self._loaded = _Loaded(now, signing, signs_until, verifying)
            return self._loaded

    def _may_sign(self, key: Key, now: float) -> bool:
        """Not where the lifetime of tokens was raised meanwhile, and its tokens would outlive it; nor one that was for
        anybody to read."""
        if self._secret and not _is_encrypted(key.private_pem):
            return False
        return key.signs_until_unix > now and key.verifies_until_unix >= key.signs_until_unix + self._token_seconds

    def _make(self, connection: Connection) -> None:
        """Unless another replica was quicker."""
        now = self._clock()
        rows.remove_expired(connection, now)
        if not any(self._may_sign(key, now) for key in rows.all(connection)):
            self._add(connection, now)

    def _add(self, connection: Connection, now: float) -> str:
        signs_until = now + self._rotate_seconds
        kid, pem = _new(self._secret)
        until = signs_until + self._token_seconds + _SPARE_SECONDS
        rows.add(connection, Key(kid, pem, now, signs_until, until))
        return kid


def signing_keys(database: Database, settings: AccessSettings) -> SigningKeys:
    return SigningKeys(database, settings.token_seconds, settings.key_seconds, secret=settings.key_secret)


def _new(secret: bytes) -> tuple[str, str]:
    """A kid, which is made of the public key, and the private key, encrypted where there is a secret."""
    import base64
    import hashlib

    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    how = form.BestAvailableEncryption(secret) if secret else form.NoEncryption()
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, how).decode()
    public = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return base64.b32encode(hashlib.sha256(public).digest()[:15]).decode().lower(), pem


def _is_encrypted(pem: str) -> bool:
    return pem.startswith("-----BEGIN ENCRYPTED")


def _private(pem: str, secret: bytes) -> Ed25519PrivateKey:
    """Raises Unavailable: it is encrypted by another secret."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), secret if _is_encrypted(pem) else None)
    except (ValueError, TypeError):
        raise Unavailable(
            "the registry's signing keys cannot be read: access.key_secret is not the one that they were encrypted by",
            hint="'cais registry key rotate --forget' makes new ones.",
        ) from None
    assert isinstance(key, Ed25519PrivateKey)
    return key
