"""Robots: what programs sign in as. A name, a random secret that is shown once, an end, and grants of its own.

The secret stands where a password would (``docker login -u NAME``). One that belongs to an account may use the
account's name, too, and can never do more than it.
"""

from __future__ import annotations

import secrets
import time

from cais.catalog.accounts import check_name, find
from cais.catalog.passwords import SECRET_PREFIX, secret_hash
from cais.catalog.rules import check_actions, check_pattern, in_order
from cais.errors import Conflict, Invalid, NotFound
from cais.records import grants, robots
from cais.records.accounts import PERSON
from cais.records.grants import To
from cais.records.robots import Robot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from cais.records.database import Database


class Robots:
    """What programs sign in as, in the records. Secrets are kept as digests only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, allowed: Iterable[tuple[str, Iterable[str]]], *, owner: str = "", lasts_seconds: float | None
    ) -> str:
        """The secret, which is nowhere else. ``allowed`` are patterns with actions; ``lasts_seconds`` None: for ever.

        Raises Invalid, Conflict (the name is taken), NotFound (the owner).
        """
        check_name(name)
        checked = [(check_pattern(pattern), in_order(check_actions(actions))) for pattern, actions in allowed]
        if lasts_seconds is not None and lasts_seconds <= 0:
            raise Invalid("a token that is to expire at once is none")
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        ends = None if lasts_seconds is None else time.time() + lasts_seconds

        def write(connection: Connection) -> None:
            if robots.by_name(connection, name) is not None:
                raise Conflict(f"there is a token {name!r}", hint="Revoke it first, or take another name.")
            owner_id = find(connection, owner, PERSON).id if owner else None
            id = robots.add(connection, name, secret_hash(secret), owner_id=owner_id, expires_unix=ends)
            for pattern, actions in checked:
                grants.put(connection, To(robot_id=id), pattern, actions)

        self._database.write(write)
        return secret

    def all(self) -> list[Robot]:
        """By name."""
        with self._database.reading() as connection:
            return robots.all(connection)

    def revoke(self, name: str) -> None:
        """With its grants. Raises NotFound."""

        def write(connection: Connection) -> None:
            robot = robots.by_name(connection, name)
            if robot is None:
                raise NotFound(f"no such token: {name[:80]}")
            robots.remove(connection, robot.id)

        self._database.write(write)
