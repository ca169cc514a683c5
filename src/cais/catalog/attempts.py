"""Attempts to sign in that failed: counted in the records, for all processes and replicas together.

Counting costs nothing beside the hash of the password that was wrong, and asking is one lookup before one is computed.
"""

from __future__ import annotations

import hashlib
import time

from cais.errors import CaisError
from cais.records import failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from cais.records.database import Database

_LIMIT, _COUNT_SECONDS = 10, 60.0  # of one name from one address; of one address, ten times as many


class TooManyAttempts(CaisError):
    """Whoever this is has to wait: ``retry_seconds``."""

    kind = "unavailable"
    code, status = "TOOMANYREQUESTS", 429

    def __init__(self, retry_seconds: int) -> None:
        super().__init__("too many attempts to sign in", hint=f"Try again in {retry_seconds} s.")
        self.retry_seconds = retry_seconds


class Attempts:
    """Who fails too often from one address waits, wherever they ask."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def hold_off(self, name: str, address: str) -> None:
        """Raises TooManyAttempts, Unavailable."""
        now = self._clock()
        for who, limit in _counted(name, address):
            count, until = failures.find(self._database, who, now)
            if count >= limit:
                raise TooManyAttempts(int(until - now) + 1)

    def failed(self, name: str, address: str) -> None:
        """Raises Unavailable."""
        now = self._clock()

        def write(connection: Connection) -> None:
            failures.remove_expired(connection, now)
            for who, _ in _counted(name, address):
                failures.add(self._database, connection, who, now, now + _COUNT_SECONDS)

        self._database.write(write, durable=False)


def _counted(name: str, address: str) -> list[tuple[str, int]]:
    """What is counted, always in one order, with the limit of each."""
    pairs = (((address,), 10 * _LIMIT), ((address, name), _LIMIT))
    return [(hashlib.sha256(repr(words).encode()).hexdigest(), limit) for words, limit in pairs]
