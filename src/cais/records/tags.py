"""Tags: names of manifests in a repository."""

from __future__ import annotations

import time

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Index, Table, bindparam, delete, select

from cais.records.lookup import Lookup
from cais.records.metadata import DIGEST, IDENTITY, METADATA, UNIX_SECONDS, name_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cais.records.database import Database

TAGS = Table(
    "tags",
    METADATA,
    Column("repository_id", IDENTITY, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("name", name_type(128), primary_key=True),
    Column("digest", DIGEST, nullable=False),
    Column("updated_unix", UNIX_SECONDS, nullable=False),
    # A tag names what its repository has.
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["repository_manifests.repository_id", "repository_manifests.digest"]
    ),
    Index(None, "repository_id", "digest"),
)

_PAGE = Lookup(
    select(TAGS.c.name)
    .where(TAGS.c.repository_id == bindparam("repository_id"), TAGS.c.name > bindparam("behind"))
    .order_by(TAGS.c.name)
    .limit(bindparam("most"))
)


def put(database: Database, connection: Connection, repository_id: int, name: str, digest: str) -> None:
    """The tag names this manifest of the repository from now on."""
    values = {"digest": digest, "updated_unix": time.time()}
    connection.execute(
        database.insert(TAGS)
        .values(repository_id=repository_id, name=name, **values)
        .on_conflict_do_update(index_elements=["repository_id", "name"], set_=values)
    )


def page(database: Database, repository_id: int, behind: str, limit: int) -> list[str]:
    """Up to ``limit`` names behind ``behind``, byte by byte in order."""
    return [name for (name,) in database.look(_PAGE, repository_id=repository_id, behind=behind, most=limit)]


def remove(connection: Connection, repository_id: int, name: str) -> bool:
    """Whether it was there."""
    gone = delete(TAGS).where(TAGS.c.repository_id == repository_id, TAGS.c.name == name)
    return bool(connection.execute(gone).rowcount)
