"""Robots: names and secrets for programs; of a secret the digest alone is kept."""

from __future__ import annotations

import time

from sqlalchemy import Column, ForeignKey, Index, String, Table, bindparam, delete, insert, select, update

from cais.records.accounts import ACCOUNTS
from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS, name_type
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection

ROBOTS = Table(
    "robots",
    METADATA,
    Column("id", IDENTITY, primary_key=True),
    Column("name", name_type(64), nullable=False, unique=True),
    Column("owner_id", IDENTITY, ForeignKey("accounts.id", ondelete="CASCADE")),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created_unix", UNIX_SECONDS, nullable=False),
    Column("expires_unix", UNIX_SECONDS),
    Column("used_unix", UNIX_SECONDS),
    Index(None, "owner_id"),
)


class Robot(NamedTuple):
    """A row, and its owner's name ("": it belongs to nobody). ``expires_unix`` None: never."""

    id: int
    name: str
    owner_id: int | None
    owner: str
    created_unix: float
    expires_unix: float | None
    used_unix: float | None


_ROWS = select(
    ROBOTS.c.id, ROBOTS.c.name, ROBOTS.c.owner_id, ACCOUNTS.c.name,
    ROBOTS.c.created_unix, ROBOTS.c.expires_unix, ROBOTS.c.used_unix,
).outerjoin(ACCOUNTS, ACCOUNTS.c.id == ROBOTS.c.owner_id)  # fmt: skip
_BY_SECRET = _ROWS.where(ROBOTS.c.secret_hash == bindparam("wanted"))
_BY_NAME = _ROWS.where(ROBOTS.c.name == bindparam("wanted"))


def by_secret(connection: Connection, secret_hash: str) -> Robot | None:
    return _one(connection, _BY_SECRET, secret_hash)


def by_name(connection: Connection, name: str) -> Robot | None:
    return _one(connection, _BY_NAME, name)


def all(connection: Connection) -> list[Robot]:
    """By name."""
    return [_robot(row) for row in connection.execute(_ROWS.order_by(ROBOTS.c.name))]


def add(
    connection: Connection, name: str, secret_hash: str, *, owner_id: int | None, expires_unix: float | None
) -> int:
    """Its id. Raises IntegrityError where the name is taken."""
    row = {
        "name": name, "secret_hash": secret_hash, "owner_id": owner_id, "expires_unix": expires_unix,
        "created_unix": time.time(),
    }  # fmt: skip
    made: int = connection.execute(insert(ROBOTS).values(row).returning(ROBOTS.c.id)).scalar_one()
    return made


def used(connection: Connection, id: int, when: float) -> None:
    connection.execute(update(ROBOTS).where(ROBOTS.c.id == id).values(used_unix=when))


def remove(connection: Connection, id: int) -> None:
    """Its grants go with it."""
    connection.execute(delete(ROBOTS).where(ROBOTS.c.id == id))


def _one(connection: Connection, query: Any, wanted: str) -> Robot | None:
    row = connection.execute(query, {"wanted": wanted}).first()
    return None if row is None else _robot(row)


def _robot(row: Any) -> Robot:
    id, name, owner_id, owner, *rest = row
    return Robot(id, name, owner_id, owner or "", *rest)
