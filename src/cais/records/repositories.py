"""Repositories: names below which blobs, manifests and tags stand."""

from __future__ import annotations

import time

from sqlalchemy import Boolean, Column, Table, bindparam, false, select

from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS, name_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cais.records.database import Database

REPOSITORIES = Table(
    "repositories",
    METADATA,
    Column("id", IDENTITY, primary_key=True),
    Column("name", name_type(255), nullable=False, unique=True),
    Column("is_public", Boolean, nullable=False, server_default=false()),
    Column("created_unix", UNIX_SECONDS, nullable=False),
)

_ID = select(REPOSITORIES.c.id).where(REPOSITORIES.c.name == bindparam("repository"))


def find(connection: Connection, name: str) -> int | None:
    """The repository's id."""
    found: int | None = connection.execute(_ID, {"repository": name}).scalar()
    return found


def ensure(database: Database, connection: Connection, name: str) -> int:
    """The repository's id; it is made where it is not there."""
    found = find(connection, name)
    if found is None:
        row = {"name": name, "created_unix": time.time()}
        connection.execute(database.insert(REPOSITORIES).values(row).on_conflict_do_nothing(index_elements=["name"]))
        found = find(connection, name)
        assert found is not None
    return found


def page(connection: Connection, behind: str, limit: int) -> list[tuple[str, bool]]:
    """Up to ``limit`` names behind ``behind``, in order, and whether everybody may read them."""
    table = REPOSITORIES
    wanted = select(table.c.name, table.c.is_public).where(table.c.name > behind).order_by(table.c.name).limit(limit)
    return [(row.name, row.is_public) for row in connection.execute(wanted)]
