"""Manifests: their bytes, which repositories have them, what they refer to, and what refers to a subject."""

from __future__ import annotations

import time

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, LargeBinary, String, Table, bindparam, delete, select

from cais.records import links
from cais.records.lookup import Lookup
from cais.records.metadata import DIGEST, IDENTITY, METADATA, UNIX_SECONDS
from cais.records.repositories import REPOSITORIES
from cais.records.tags import TAGS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from cais.records.database import Database

# What a digest says is the same in all repositories: only links and tags belong to one.
MANIFESTS = Table(
    "manifests",
    METADATA,
    Column("digest", DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("media_type", String(255), nullable=False),
    Column("artifact_type", String(255), nullable=False),
    Column("subject_digest", DIGEST, index=True),
    Column("annotations", JSON),
    Column("content", LargeBinary, nullable=False),
    Column("created_unix", UNIX_SECONDS, nullable=False),
)
REPOSITORY_MANIFESTS = Table(
    "repository_manifests",
    METADATA,
    Column("repository_id", IDENTITY, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", DIGEST, ForeignKey("manifests.digest"), primary_key=True, index=True),
    Column("pushed_unix", UNIX_SECONDS, nullable=False),
    Column("linked_unix", UNIX_SECONDS, nullable=False),
    # When the manifest that it is about was removed, if it was.
    Column("orphaned_unix", UNIX_SECONDS),
)
# What keeps what: a manifest its config, layers and manifests; and the subject that it is about.
MANIFEST_REFERENCES = Table(
    "manifest_references",
    METADATA,
    Column("parent", DIGEST, ForeignKey("manifests.digest", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("child", DIGEST, primary_key=True, index=True),
)


class NewManifest(NamedTuple):
    """``references`` are pairs of kind (config, layer, manifest, subject) and digest."""

    digest: str
    media_type: str
    artifact_type: str
    subject_digest: str | None
    annotations: dict[str, str] | None
    content: bytes
    references: tuple[tuple[str, str], ...]


class ManifestRow(NamedTuple):
    """``linked_unix``: when somebody last relied on it that the repository has it; found by a tag it is kept anyway."""

    digest: str
    size_bytes: int
    media_type: str
    linked_unix: float = float("inf")


class ReferrerRow(NamedTuple):
    digest: str
    size_bytes: int
    media_type: str
    artifact_type: str
    annotations: dict[str, str] | None


_LINKED = (
    select(MANIFESTS.c.digest, MANIFESTS.c.size_bytes, MANIFESTS.c.media_type)
    .join(REPOSITORY_MANIFESTS, REPOSITORY_MANIFESTS.c.digest == MANIFESTS.c.digest)
    .join(REPOSITORIES, REPOSITORIES.c.id == REPOSITORY_MANIFESTS.c.repository_id)
    .where(REPOSITORIES.c.name == bindparam("repository"))
)
_BY_DIGEST = Lookup(
    _LINKED.add_columns(REPOSITORY_MANIFESTS.c.linked_unix).where(MANIFESTS.c.digest == bindparam("wanted"))
)
_BY_TAG = Lookup(
    select(MANIFESTS.c.digest, MANIFESTS.c.size_bytes, MANIFESTS.c.media_type)
    .join(TAGS, TAGS.c.digest == MANIFESTS.c.digest)
    .join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository_id)
    .where(REPOSITORIES.c.name == bindparam("repository"), TAGS.c.name == bindparam("wanted"))
)
_CONTENT = Lookup(select(MANIFESTS.c.content).where(MANIFESTS.c.digest == bindparam("wanted")))


def find(database: Database, repository: str, reference: str) -> ManifestRow | None:
    """By a digest (it has a colon) or a tag (it has none)."""
    found = database.look(_BY_DIGEST if ":" in reference else _BY_TAG, repository=repository, wanted=reference)
    return ManifestRow(*found[0]) if found else None


def content(database: Database, digest: str) -> bytes | None:
    """The manifest's bytes."""
    found = database.look(_CONTENT, wanted=digest)
    return bytes(found[0][0]) if found else None


def referrer_sizes(
    connection: Connection, repository: str, subject: str, artifact_type: str, behind: str, limit: int
) -> list[tuple[str, int]]:
    """Digest and size in bytes of up to ``limit`` manifests of the repository about ``subject``, in order of digests.

    Those behind ``behind`` alone, and of one ``artifact_type`` ("" is any).
    """
    query = _LINKED.where(MANIFESTS.c.subject_digest == subject, MANIFESTS.c.digest > behind)
    if artifact_type:
        query = query.where(MANIFESTS.c.artifact_type == artifact_type)
    rows = connection.execute(query.order_by(MANIFESTS.c.digest).limit(limit), {"repository": repository})
    return [(row.digest, row.size_bytes) for row in rows]


def referrers(connection: Connection, digests: Iterable[str]) -> list[ReferrerRow]:
    """What a descriptor says of each of these manifests, in order of digests."""
    table = MANIFESTS
    columns = select(table.c.digest, table.c.size_bytes, table.c.media_type, table.c.artifact_type, table.c.annotations)
    rows = connection.execute(columns.where(table.c.digest.in_(list(digests))).order_by(table.c.digest))
    return [ReferrerRow(*row) for row in rows]


def add(database: Database, connection: Connection, repository_id: int, manifest: NewManifest) -> None:
    """The repository has the manifest from now on."""
    now = time.time()
    row = manifest._asdict()
    del row["references"]
    row.update(size_bytes=len(manifest.content), created_unix=now)
    added = database.insert(MANIFESTS).values(row).on_conflict_do_nothing(index_elements=["digest"])
    if connection.execute(added.returning(MANIFESTS.c.digest)).first() is not None and manifest.references:
        references = [{"parent": manifest.digest, "kind": kind, "child": child} for kind, child in manifest.references]
        connection.execute(database.insert(MANIFEST_REFERENCES).on_conflict_do_nothing(), references)
    link = {"repository_id": repository_id, "digest": manifest.digest, "pushed_unix": now, "linked_unix": now}
    connection.execute(
        database.insert(REPOSITORY_MANIFESTS)
        .values(link)
        .on_conflict_do_update(
            index_elements=["repository_id", "digest"], set_={"linked_unix": now, "orphaned_unix": None}
        )
    )


def renew(connection: Connection, repository_id: int, digests: Iterable[str]) -> set[str]:
    """Those of ``digests`` that the repository has; their links are fresh again (``links.renew``)."""
    return links.renew(connection, REPOSITORY_MANIFESTS, repository_id, digests)


def unlink(connection: Connection, repository_id: int, digest: str) -> bool:
    """Takes the manifest and the tags that name it from the repository; whether it had it."""
    connection.execute(delete(TAGS).where(TAGS.c.repository_id == repository_id, TAGS.c.digest == digest))
    return links.remove(connection, REPOSITORY_MANIFESTS, repository_id, digest)
