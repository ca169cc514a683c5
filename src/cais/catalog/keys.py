"""Signing keys: made when one is needed, kept in the records for all replicas, rotated so that two overlap.

A key signs for a while, and verifies until its last token has expired. A replica that meets a ``kid`` it does not know
looks into the records, so that a key can be used the moment it is made.
"""

from __future__ import annotations

import threading
import time

from cais.catalog.tokens import SigningKey
from cais.errors import Unavailable
from cais.records import signing_keys
from cais.records.signing_keys import Key
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from sqlalchemy import Connection

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
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._database, self._clock = database, clock
        self._token_seconds, self._rotate_seconds = token_seconds, rotate_seconds
        self._lock = threading.Lock()
        self._loaded = _Loaded(0.0, None, 0.0, {})

    def signing(self) -> SigningKey:
        """The newest; a new one is made where there is none. Raises Unavailable (the records)."""
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
                signing_keys.remove_all(connection)
            else:
                signing_keys.retire(connection, now, now + self._token_seconds + _SPARE_SECONDS)
            return self._add(connection, now)

        kid = self._database.write(write)
        self._load()
        return kid

    def all(self) -> list[Key]:
        """The newest first."""
        with self._database.reading() as connection:
            return signing_keys.all(connection)

    def _fresh(self, loaded: _Loaded, now: float) -> bool:
        return 0 <= now - loaded.at < _FRESH_SECONDS

    def _load(self) -> _Loaded:
        with self._lock:
            now = self._clock()
            verifying: dict[str, tuple[Ed25519PublicKey, float]] = {}
            signing, signs_until = None, 0.0
            for key in self.all():
                private = _private(key.private_pem)
                verifying[key.kid] = (private.public_key(), key.verifies_until_unix)
                if signing is None and self._may_sign(key, now):
                    signing, signs_until = SigningKey(key.kid, private), key.signs_until_unix
            self._loaded = _Loaded(now, signing, signs_until, verifying)
            return self._loaded

    def _may_sign(self, key: Key, now: float) -> bool:
        """Not where the lifetime of tokens was raised meanwhile, and its tokens would outlive it."""
        return key.signs_until_unix > now and key.verifies_until_unix >= key.signs_until_unix + self._token_seconds

    def _make(self, connection: Connection) -> None:
        """Unless another replica was quicker."""
        now = self._clock()
        signing_keys.remove_expired(connection, now)
        if not any(self._may_sign(key, now) for key in signing_keys.all(connection)):
            self._add(connection, now)

    def _add(self, connection: Connection, now: float) -> str:
        signs_until = now + self._rotate_seconds
        kid, pem = _new()
        until = signs_until + self._token_seconds + _SPARE_SECONDS
        signing_keys.add(connection, Key(kid, pem, now, signs_until, until))
        return kid


def _new() -> tuple[str, str]:
    """A kid, which is made of the public key, and the private key."""
    import base64
    import hashlib

    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    public = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return base64.b32encode(hashlib.sha256(public).digest()[:15]).decode().lower(), pem


def _private(pem: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key
