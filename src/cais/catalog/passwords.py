"""Passwords: argon2id, at a bounded cost however many guesses come at once.

A hash takes 19 MiB and some 20 ms (the parameters that OWASP names), two are computed at a time, and a process in which
too many wait turns away the rest. A right password is remembered for a minute, a wrong one for some seconds, by an
HMAC with a key that only this process has; who fails too often from one address is turned away (``attempts``).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time

from cais.catalog.attempts import TooManyAttempts
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from argon2 import PasswordHasher

    from cais.catalog.attempts import Attempts

# Of secrets that we make. A scanner for secrets in sources can find one by it, and nobody's password begins so: what
# does is looked up, and never hashed.
SECRET_PREFIX = "cais_"
SHORTEST, LONGEST = 8, 1024  # characters, bytes
_MEMORY_KIB, _PASSES, _LANES = 19456, 2, 1
_AT_ONCE = 2
_WAITING_LIMIT = 64
_ANY = "any"  # in place of a hash, which it cannot be taken for
_RIGHT_SECONDS, _WRONG_SECONDS = 60.0, 5.0
_REMEMBERED = 4096


def check_strength(password: str) -> str:
    """Returns it. Raises Invalid (too short, too long, with control characters)."""
    if len(password) < SHORTEST:
        raise Invalid(f"the password is shorter than {SHORTEST} characters")
    if len(password.encode("utf-8", "surrogateescape")) > LONGEST:
        raise Invalid(f"the password is longer than {LONGEST} bytes")
    if password.startswith(SECRET_PREFIX):
        raise Invalid(f"the password begins with {SECRET_PREFIX!r}, as only secrets of tokens do")
    if not password.isprintable():
        raise Invalid("the password has control characters in it, or is not UTF-8")
    return password


def hashed(password: str) -> str:
    """As the records keep it: parameters, salt and hash in one text."""
    return _hasher().hash(password)


class Passwords:
    """Checks passwords; one for a process. Safe to use from several threads."""

    def __init__(self, attempts: Attempts, clock: Callable[[], float] = time.monotonic) -> None:
        self._attempts, self._clock = attempts, clock
        self._key = os.urandom(32)
        self._turn = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._waiting = 0
        self._known: dict[bytes, tuple[bool, float]] = {}
        self._nobody = ""

    def remembers(self, name: str, password: str, kept: str) -> bool:
        """Whether it was right lately; this takes no time, and says nothing of one that was not."""
        if _is_endless(name, password):
            return False
        known = self._known.get(self._mark(name, password, kept))
        return known is not None and known[0] and known[1] > self._clock()

    def was_right(self, name: str, password: str) -> bool:
        """Whether it was right lately, for whatever hash was kept then: good for a guess of how long ``right`` takes,
        and for nothing else."""
        return self.remembers(name, password, _ANY)

    def right(self, name: str, password: str, kept: str, address: str) -> bool:
        """Whether ``password`` is that of the hash ``kept`` ("": there is no such account, found out no faster).

        ``address`` is where the attempt comes from. Raises TooManyAttempts, Unavailable.
        """
        if _is_endless(name, password):
            return False
        if self.remembers(name, password, kept):
            return True
        mark = self._mark(name, password, kept)
        now = self._clock()
        known = self._known.get(mark)
        self._attempts.hold_off(name, address)
        if known is None or known[1] <= now:
            right = self._compute(password, kept)
            self._remember(mark, right)
            if right:
                self._remember(self._mark(name, password, _ANY), right)
        else:
            right = False
        if not right:
            self._attempts.failed(name, address)
        return right

    def _mark(self, name: str, password: str, kept: str) -> bytes:
        return hmac.digest(self._key, repr((name, kept, password)).encode("utf-8", "surrogateescape"), "sha256")

    def _compute(self, password: str, kept: str) -> bool:
        with self._lock:
            if self._waiting >= _WAITING_LIMIT:
                raise TooManyAttempts(1)
            self._waiting += 1
        try:
            with self._turn:
                return bool(kept) & _verify(kept or self._hash_of_nobody(), password)
        finally:
            with self._lock:
                self._waiting -= 1

    def _hash_of_nobody(self) -> str:
        if not self._nobody:
            self._nobody = hashed(os.urandom(16).hex())
        return self._nobody

    def _remember(self, mark: bytes, right: bool) -> None:
        now = self._clock()
        with self._lock:
            self._known.pop(mark, None)
            self._known[mark] = (right, now + (_RIGHT_SECONDS if right else _WRONG_SECONDS))
            _shrink(self._known, now)


def _is_endless(name: str, password: str) -> bool:
    return len(name) > LONGEST or len(password.encode("utf-8", "surrogateescape")) > LONGEST


def secret_hash(secret: str) -> str:
    """Of a secret that we made ourselves, of 256 random bits: there is nothing to guess, so a plain digest will do."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _shrink(kept: dict[Any, tuple[Any, float]], now: float) -> None:
    """Not for ever, and not for everybody: the oldest go first."""
    if len(kept) > _REMEMBERED:
        for key in [key for key, (_, until) in kept.items() if until <= now]:
            del kept[key]
        while len(kept) > _REMEMBERED:
            del kept[next(iter(kept))]


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)


def _verify(kept: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(kept, password.encode("utf-8", "surrogateescape"))
    except (VerificationError, InvalidHashError):
        return False
