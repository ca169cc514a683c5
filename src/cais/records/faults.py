"""What must not be in the records, and pages of what can be compared with bytes."""

from __future__ import annotations

from sqlalchemy import delete, exists, insert, select, tuple_

from cais.records.blobs import BLOBS, REPOSITORY_BLOBS, throw_away
from cais.records.manifests import MANIFEST_REFERENCES, MANIFESTS, REPOSITORY_MANIFESTS
from cais.records.repositories import REPOSITORIES
from cais.records.tags import TAGS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy import Connection

    from cais.records.database import Database

_PAGE = 1000


class BlobRow(NamedTuple):
    digest: str
    size_bytes: int
    location: dict[str, Any]


class DocumentRow(NamedTuple):
    digest: str
    size_bytes: int
    media_type: str
    content: bytes


class MissingReference(NamedTuple):
    """``is_stored``: another repository has the blob, so that only the link is missing."""

    repository: str
    repository_id: int
    parent: str
    child: str
    is_stored: bool


class LooseTag(NamedTuple):
    repository: str
    repository_id: int
    name: str
    digest: str


def blobs(database: Database) -> Iterator[BlobRow]:
    """All, in pages: no connection is held while the caller looks at one."""
    last = ""
    while True:
        wanted = select(BLOBS.c.digest, BLOBS.c.size_bytes, BLOBS.c.location).where(BLOBS.c.digest > last)
        with database.reading() as connection:
            rows = [BlobRow(*row) for row in connection.execute(wanted.order_by(BLOBS.c.digest).limit(_PAGE))]
        yield from rows
        if len(rows) < _PAGE:
            return
        last = rows[-1].digest


def blob(connection: Connection, digest: str) -> BlobRow | None:
    wanted = select(BLOBS.c.digest, BLOBS.c.size_bytes, BLOBS.c.location).where(BLOBS.c.digest == digest)
    row = connection.execute(wanted).first()
    return None if row is None else BlobRow(*row)


def forget_blob(connection: Connection, digest: str, location: dict[str, Any]) -> bool:
    """No repository has it any more, if it is still at ``location``: who needs it has to push it again."""
    row = blob(connection, digest)
    if row is None or row.location != location:
        return False
    connection.execute(delete(REPOSITORY_BLOBS).where(REPOSITORY_BLOBS.c.digest == digest))
    connection.execute(delete(BLOBS).where(BLOBS.c.digest == digest))
    throw_away(connection, location)
    return True


def documents(database: Database) -> Iterator[DocumentRow]:
    """All manifests, in small pages."""
    table, last = MANIFESTS, ""
    columns = (table.c.digest, table.c.size_bytes, table.c.media_type, table.c.content)
    while True:
        wanted = select(*columns).where(table.c.digest > last).order_by(table.c.digest).limit(_PAGE // 50)
        with database.reading() as connection:
            rows = [DocumentRow(row[0], row[1], row[2], bytes(row[3])) for row in connection.execute(wanted)]
        yield from rows
        if len(rows) < _PAGE // 50:
            return
        last = rows[-1].digest


def references(connection: Connection, digest: str) -> set[tuple[str, str]]:
    """Pairs of kind and digest that the records keep for a manifest."""
    table = MANIFEST_REFERENCES
    return {
        (row[0], row[1])
        for row in connection.execute(select(table.c.kind, table.c.child).where(table.c.parent == digest))
    }


def note_references(connection: Connection, digest: str, pairs: set[tuple[str, str]]) -> None:
    """Makes the records keep exactly ``pairs`` for a manifest."""
    connection.execute(delete(MANIFEST_REFERENCES).where(MANIFEST_REFERENCES.c.parent == digest))
    if pairs:
        rows = [{"parent": digest, "kind": kind, "child": child} for kind, child in sorted(pairs)]
        connection.execute(insert(MANIFEST_REFERENCES), rows)


def missing_references(database: Database) -> Iterator[MissingReference]:
    """What manifests of a repository refer to, and the repository has not."""
    link, reference = REPOSITORY_MANIFESTS, MANIFEST_REFERENCES
    others = REPOSITORY_MANIFESTS.alias("others")
    has_blob = exists().where(
        REPOSITORY_BLOBS.c.repository_id == link.c.repository_id, REPOSITORY_BLOBS.c.digest == reference.c.child
    )
    has_manifest = exists().where(others.c.repository_id == link.c.repository_id, others.c.digest == reference.c.child)
    is_stored = exists().where(BLOBS.c.digest == reference.c.child)
    key = (link.c.repository_id, link.c.digest)
    last: tuple[Any, ...] | None = None
    while True:
        page = select(*key).order_by(*key).limit(_PAGE)
        if last is not None:
            page = page.where(tuple_(*key) > tuple_(*last))
        window = page.subquery()
        wanted = (
            select(REPOSITORIES.c.name, *key, reference.c.child, is_stored)
            .join(window, (window.c.repository_id == key[0]) & (window.c.digest == key[1]))
            .join(REPOSITORIES, REPOSITORIES.c.id == link.c.repository_id)
            .join(reference, reference.c.parent == link.c.digest)
            .where(reference.c.kind != "subject", ~has_blob, ~has_manifest)
        )
        with database.reading() as connection:
            rows = [tuple(row) for row in connection.execute(page)]
            found = [MissingReference(*row) for row in connection.execute(wanted)]
        yield from found
        if len(rows) < _PAGE:
            return
        last = rows[-1]


def loose_tags(connection: Connection) -> list[LooseTag]:
    """Tags of manifests that their repository has not."""
    has = exists().where(
        REPOSITORY_MANIFESTS.c.repository_id == TAGS.c.repository_id, REPOSITORY_MANIFESTS.c.digest == TAGS.c.digest
    )
    wanted = (
        select(REPOSITORIES.c.name, TAGS.c.repository_id, TAGS.c.name, TAGS.c.digest)
        .join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository_id)
        .where(~has)
    )
    return [LooseTag(*row) for row in connection.execute(wanted)]
