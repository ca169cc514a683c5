"""What collecting would remove, without removing it: links that would go stand in temporary tables of the connection,
and the same conditions are asked as if those were gone."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, Table, func, insert, select

from cais.records.blobs import BLOBS, REPOSITORY_BLOBS
from cais.records.manifests import MANIFESTS, REPOSITORY_MANIFESTS
from cais.records.metadata import DIGEST, IDENTITY
from cais.records.unneeded import Limits, no_link, unneeded_blob, unneeded_manifest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


class Foreseen(NamedTuple):
    manifest_links: int
    blob_links: int
    blobs: int
    freed_bytes: int


def _gone(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("repository_id", IDENTITY, primary_key=True),
        Column("digest", DIGEST, primary_key=True),
        prefixes=["TEMPORARY"],
    )


def foresee(connection: Connection, limits: Limits) -> Foreseen:
    """What would be removed now."""
    manifests, blobs = _gone("gone_manifests"), _gone("gone_blobs")
    for table in (manifests, blobs):
        table.create(connection)
    try:
        manifest_links = 0
        while more := _note(connection, REPOSITORY_MANIFESTS, manifests, unneeded_manifest(limits, manifests)):
            manifest_links += more
        blob_links = _note(connection, REPOSITORY_BLOBS, blobs, unneeded_blob(limits, manifests))
        count, size_bytes = _sum(connection, BLOBS, no_link(REPOSITORY_BLOBS, BLOBS, blobs))
        _, documents_bytes = _sum(connection, MANIFESTS, no_link(REPOSITORY_MANIFESTS, MANIFESTS, manifests))
        return Foreseen(manifest_links, blob_links, count, size_bytes + documents_bytes)
    finally:
        for table in (manifests, blobs):
            table.drop(connection)


def _note(connection: Connection, links: Table, gone: Table, unneeded: ColumnElement[bool]) -> int:
    """Adds to ``gone`` the links that are unneeded and not in it; how many they are."""
    known = select(gone.c.digest).where(gone.c.repository_id == links.c.repository_id, gone.c.digest == links.c.digest)
    wanted = select(links.c.repository_id, links.c.digest).where(unneeded, ~known.exists())
    return connection.execute(insert(gone).from_select(["repository_id", "digest"], wanted)).rowcount


def _sum(connection: Connection, table: Table, unneeded: ColumnElement[bool]) -> tuple[int, int]:
    wanted = select(func.count(), func.coalesce(func.sum(table.c.size_bytes), 0)).where(unneeded)
    count, size_bytes = connection.execute(wanted).one()
    return int(count), int(size_bytes)
