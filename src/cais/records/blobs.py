"""Blobs: where the bytes of a digest are, which repositories have it, and places whose bytes nobody needs any more."""

from __future__ import annotations

import json
import time

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Table, bindparam, delete, insert, select

from cais.records import links
from cais.records.lookup import Change, Lookup
from cais.records.metadata import DIGEST, IDENTITY, METADATA, UNIX_SECONDS
from cais.records.repositories import REPOSITORIES, Shown, is_shown
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from sqlalchemy import Connection
    from sqlalchemy.dialects.sqlite import Insert

    from cais.records.database import Database

BLOBS = Table(
    "blobs",
    METADATA,
    Column("digest", DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("location", JSON, nullable=False),
    Column("created_unix", UNIX_SECONDS, nullable=False),
)
# A repository has a blob. ``linked_unix`` is when somebody last relied on that: gc leaves a fresh link alone.
REPOSITORY_BLOBS = Table(
    "repository_blobs",
    METADATA,
    Column("repository_id", IDENTITY, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", DIGEST, ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("linked_unix", UNIX_SECONDS, nullable=False),
)
# Locations whose row is gone and whose bytes have to go: noted with the row's removal, so that a crash forgets none.
GARBAGE = Table(
    "garbage",
    METADATA,
    Column("id", IDENTITY, primary_key=True),
    Column("location", JSON, nullable=False),
    Column("since_unix", UNIX_SECONDS, nullable=False),
)


class StoredBlob(NamedTuple):
    digest: str
    size_bytes: int
    location: dict[str, Any]
    linked_unix: float


_FIND = Lookup(
    select(BLOBS.c.digest, BLOBS.c.size_bytes, BLOBS.c.location, REPOSITORY_BLOBS.c.linked_unix)
    .join(REPOSITORY_BLOBS, REPOSITORY_BLOBS.c.digest == BLOBS.c.digest)
    .join(REPOSITORIES, REPOSITORIES.c.id == REPOSITORY_BLOBS.c.repository_id)
    .where(REPOSITORIES.c.name == bindparam("repository"), BLOBS.c.digest == bindparam("wanted"))
)


def find(database: Database, repository: str, digest: str) -> StoredBlob | None:
    """The blob, if ``repository`` has it."""
    found = database.look(_FIND, repository=repository, wanted=digest)
    if not found:
        return None
    name, size_bytes, location, linked_unix = found[0]
    return StoredBlob(name, size_bytes, json.loads(location) if isinstance(location, str) else location, linked_unix)


def owner(connection: Connection, digest: str, shown: Sequence[Shown]) -> str | None:
    """The name of a repository that has the blob, of those that are ``shown``."""
    linked = (
        select(REPOSITORIES.c.name)
        .join(REPOSITORY_BLOBS, REPOSITORY_BLOBS.c.repository_id == REPOSITORIES.c.id)
        .where(REPOSITORY_BLOBS.c.digest == digest, *map(is_shown, shown))
        .limit(1)
    )
    found: str | None = connection.execute(linked).scalar()
    return found


def is_stored(connection: Connection, digest: str) -> bool:
    """Whether any repository has it, or had it a moment ago."""
    return connection.execute(select(BLOBS.c.digest).where(BLOBS.c.digest == digest)).first() is not None


def _link(database: Database) -> Insert:
    added: Insert = database.insert(REPOSITORY_BLOBS)
    fresh = {"linked_unix": added.excluded.linked_unix}
    return added.on_conflict_do_update(index_elements=["repository_id", "digest"], set_=fresh)


_ADD = Change(lambda database: database.insert(BLOBS).on_conflict_do_nothing(index_elements=["digest"]))
_LINK = Change(_link)


def add(database: Database, connection: Connection, digest: str, size_bytes: int, location: dict[str, Any]) -> bool:
    """Whether the blob is at ``location`` from now on, or was before; False where it is there already, at another."""
    row = {"digest": digest, "size_bytes": size_bytes, "location": json.dumps(location), "created_unix": time.time()}
    if database.run(connection, _ADD, **row).touched:
        return True
    return is_at(connection, digest, location)


def is_at(connection: Connection, digest: str, location: dict[str, Any]) -> bool:
    """Whether the blob's bytes are at ``location``."""
    found = connection.execute(select(BLOBS.c.location).where(BLOBS.c.digest == digest)).scalar()
    return bool(found == location)


def link(database: Database, connection: Connection, repository_id: int, digest: str) -> None:
    """The repository has the blob from now on; where it had it, the link is fresh again."""
    database.run(connection, _LINK, repository_id=repository_id, digest=digest, linked_unix=time.time())


def renew(connection: Connection, repository_id: int, digests: Iterable[str]) -> set[str]:
    """Those of ``digests`` that the repository has; their links are fresh again (``links.renew``)."""
    return links.renew(connection, REPOSITORY_BLOBS, repository_id, digests)


def unlink(connection: Connection, repository_id: int, digest: str) -> bool:
    """Whether the repository had it."""
    return links.remove(connection, REPOSITORY_BLOBS, repository_id, digest)


def throw_away(connection: Connection, location: dict[str, Any]) -> int:
    """Notes that the bytes at ``location`` are needed no more; returns what ``thrown_away`` takes."""
    made = connection.execute(insert(GARBAGE).values(location=location, since_unix=time.time()))
    assert made.inserted_primary_key is not None
    number: int = made.inserted_primary_key[0]
    return number


def thrown_away(connection: Connection, number: int) -> None:
    """The bytes are gone."""
    connection.execute(delete(GARBAGE).where(GARBAGE.c.id == number))
