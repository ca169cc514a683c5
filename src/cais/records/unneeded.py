"""What nothing needs any more: found in windows of bounded size, removed only if that is still so.

A window is read without a lock. What it proposes is removed by a transaction of its own, which first locks those rows
(and leaves out rows that somebody else has locked), and then asks again with what is committed by then. Whoever relies
on a link renews it in the transaction that relies on it: either the removal waits for that and sees a fresh link, or
the other one finds the link gone, and says so to its client.
"""

from __future__ import annotations

import time
from itertools import groupby

from sqlalchemy import (
    ColumnElement,
    Table,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    true,
    tuple_,
    update,
)

from cais.records.blobs import BLOBS, GARBAGE, REPOSITORY_BLOBS
from cais.records.manifests import MANIFEST_REFERENCES, MANIFESTS, REPOSITORY_MANIFESTS
from cais.records.tags import TAGS
from cais.records.uploads import UPLOADS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection, FromClause

    Key = tuple[Any, ...]


class Window(NamedTuple):
    """``found`` are keys of rows that may go; ``last`` is where the next window begins, None behind the last row."""

    found: list[Key]
    last: Key | None


class Freed(NamedTuple):
    digest: str
    size_bytes: int


class Rubbish(NamedTuple):
    number: int
    location: dict[str, Any]


class Limits(NamedTuple):
    """Times (Unix seconds) before which something has to have happened last, for it to go.

    ``linked``: somebody relied on a link. ``pushed``: a manifest without a tag was pushed (None: those are kept).
    """

    linked: float
    pushed: float | None


START: Key = ()
_POPULAR = 50  # from so many parents on


def manifest_links(connection: Connection, behind: Key, size: int, limits: Limits) -> Window:
    """Keys (repository_id, digest) of manifests that no tag, index or subject keeps in their repository."""
    return _window(connection, REPOSITORY_MANIFESTS, behind, unneeded_manifest(limits), size)


def remove_manifest_links(connection: Connection, keys: Sequence[Key], limits: Limits) -> list[Key]:
    """Those of ``keys`` that were removed. What was about one of them is on its own from now on."""
    removed = _remove_links(connection, REPOSITORY_MANIFESTS, keys, unneeded_manifest(limits))
    for repository_id, digest in removed:
        orphan_referrers(connection, repository_id, digest)
    return removed


def orphan_referrers(connection: Connection, repository_id: int, subject: str) -> None:
    """Notes that manifests were about ``subject``, which the repository has no more: unless a tag names them or it
    comes back, they go, too."""
    table = REPOSITORY_MANIFESTS
    about = select(MANIFESTS.c.digest).where(MANIFESTS.c.subject_digest == subject)
    left = update(table).where(table.c.repository_id == repository_id, table.c.digest.in_(about))
    connection.execute(left.values(orphaned_unix=time.time()))


def blob_links(connection: Connection, behind: Key, size: int, limits: Limits) -> Window:
    """Keys (repository_id, digest) of blobs to which no manifest of their repository refers."""
    return _window(connection, REPOSITORY_BLOBS, behind, unneeded_blob(limits), size)


def remove_blob_links(connection: Connection, keys: Sequence[Key], limits: Limits) -> list[Key]:
    """Those of ``keys`` that were removed."""
    return _remove_links(connection, REPOSITORY_BLOBS, keys, unneeded_blob(limits))


def manifests(connection: Connection, behind: Key, size: int) -> Window:
    """Keys (digest,) of manifests that no repository has."""
    return _window(connection, MANIFESTS, behind, no_link(REPOSITORY_MANIFESTS, MANIFESTS), size)


def remove_manifests(connection: Connection, keys: Sequence[Key]) -> list[Freed]:
    """Those of ``keys`` that were removed, with what they refer to."""
    gone = _remove(connection, MANIFESTS, keys, no_link(REPOSITORY_MANIFESTS, MANIFESTS))
    return [Freed(row.digest, row.size_bytes) for row in connection.execute(gone)]


def blobs(connection: Connection, behind: Key, size: int) -> Window:
    """Keys (digest,) of blobs that no repository has."""
    return _window(connection, BLOBS, behind, no_link(REPOSITORY_BLOBS, BLOBS), size)


def remove_blobs(connection: Connection, keys: Sequence[Key]) -> list[Freed]:
    """Those of ``keys`` that were removed. Where their bytes are is noted with it, so that a crash forgets none."""
    gone = _remove(connection, BLOBS, keys, no_link(REPOSITORY_BLOBS, BLOBS), BLOBS.c.location)
    removed = list(connection.execute(gone))
    if removed:
        now = time.time()
        connection.execute(insert(GARBAGE), [{"location": row.location, "since_unix": now} for row in removed])
    return [Freed(row.digest, row.size_bytes) for row in removed]


def rubbish(connection: Connection, behind: int, before_unix: float, size: int) -> list[Rubbish]:
    """Up to ``size`` locations whose bytes nobody has needed since ``before_unix``, behind the number ``behind``."""
    table = GARBAGE
    wanted = select(table.c.id, table.c.location).where(table.c.id > behind, table.c.since_unix <= before_unix)
    return [Rubbish(*row) for row in connection.execute(wanted.order_by(table.c.id).limit(size))]


def forget_rubbish(connection: Connection, numbers: Sequence[int]) -> None:
    """Their bytes are gone."""
    connection.execute(delete(GARBAGE).where(GARBAGE.c.id.in_(numbers)))


def uploads(connection: Connection, behind: Key, size: int, before_unix: float) -> Window:
    """Keys (id,) of uploads that got no byte since ``before_unix``."""
    return _window(connection, UPLOADS, behind, UPLOADS.c.updated_unix < before_unix, size)


def remove_uploads(connection: Connection, keys: Sequence[Key], before_unix: float) -> list[tuple[str, list[Any]]]:
    """Those of ``keys`` that were forgotten: ids, and what ``blobs`` said of them."""
    table = UPLOADS
    these = select(table.c.id).where(table.c.id.in_([name for (name,) in keys]))
    locked = list(connection.execute(these.with_for_update(skip_locked=True)).scalars())
    gone = delete(table).where(table.c.id.in_(locked), table.c.updated_unix < before_unix)
    return [(row.id, row.parts) for row in connection.execute(gone.returning(table.c.id, table.c.parts))]


def count_uploads(connection: Connection, before_unix: float) -> int:
    """How many ``remove_uploads`` would forget."""
    stale = select(func.count()).select_from(UPLOADS).where(UPLOADS.c.updated_unix < before_unix)
    return connection.execute(stale).scalar() or 0


def no_link(links: Table, table: Table, without: Table | None = None) -> ColumnElement[bool]:
    """That no repository has it."""
    return ~exists().where(links.c.digest == table.c.digest, _stays(links, without))


def unneeded_manifest(limits: Limits, without: Table | None = None) -> ColumnElement[bool]:
    """The condition on a row of ``repository_manifests``, if the links in ``without`` were gone."""
    table = REPOSITORY_MANIFESTS
    others = REPOSITORY_MANIFESTS.alias("others")
    in_same = and_(others.c.repository_id == table.c.repository_id, _stays(others, without))
    tagged = exists().where(TAGS.c.repository_id == table.c.repository_id, TAGS.c.digest == table.c.digest)
    in_index = exists().where(
        MANIFEST_REFERENCES.c.child == table.c.digest,
        MANIFEST_REFERENCES.c.kind != "subject",
        others.c.digest == MANIFEST_REFERENCES.c.parent,
        in_same,
    )
    about = exists().where(MANIFESTS.c.digest == table.c.digest, others.c.digest == MANIFESTS.c.subject_digest, in_same)
    untagged = false() if limits.pushed is None else table.c.pushed_unix < limits.pushed
    return and_(
        table.c.linked_unix < limits.linked,
        or_(untagged, table.c.orphaned_unix < limits.linked),
        ~tagged, ~in_index, ~about,
    )  # fmt: skip


def unneeded_blob(limits: Limits, without: Table | None = None) -> ColumnElement[bool]:
    """The condition on a row of ``repository_blobs``, if the manifests' links in ``without`` were gone."""
    table, reference, others = REPOSITORY_BLOBS, MANIFEST_REFERENCES, REPOSITORY_MANIFESTS.alias("others")
    is_popular = (
        select(reference.c.parent).where(reference.c.child == table.c.digest).limit(1).offset(_POPULAR).exists()
    )

    def referred(child: ColumnElement[str]) -> ColumnElement[bool]:
        return exists().where(
            child == table.c.digest,
            reference.c.kind != "subject",
            others.c.digest == reference.c.parent,
            others.c.repository_id == table.c.repository_id,
            _stays(others, without),
        )

    # Few parents are looked up in the repository. Of many, as those of a base image's layers, most are elsewhere: then
    # the repository's manifests are looked up, and the empty text keeps the database from the index of children.
    needed = case((is_popular, referred(reference.c.child + "")), else_=referred(reference.c.child))
    return and_(table.c.linked_unix < limits.linked, ~needed)


def _stays(links: FromClause, without: Table | None) -> ColumnElement[bool]:
    if without is None:
        return true()
    return ~exists().where(without.c.repository_id == links.c.repository_id, without.c.digest == links.c.digest)


def _window(connection: Connection, table: Table, behind: Key, unneeded: ColumnElement[bool], size: int) -> Window:
    key = list(table.primary_key.columns)
    wanted = select(*key, unneeded.label("unneeded")).order_by(*key).limit(size)
    if behind:
        wanted = wanted.where(tuple_(*key) > tuple_(*behind) if len(key) > 1 else key[0] > behind[0])
    rows = [tuple(row) for row in connection.execute(wanted)]
    return Window([row[:-1] for row in rows if row[-1]], rows[-1][:-1] if len(rows) == size else None)


def _remove_links(
    connection: Connection, table: Table, keys: Sequence[Key], unneeded: ColumnElement[bool]
) -> list[Key]:
    removed: list[Key] = []
    for repository_id, some in groupby(sorted(keys), lambda key: key[0]):
        these = and_(table.c.repository_id == repository_id, table.c.digest.in_([digest for _, digest in some]))
        locked = connection.execute(select(table.c.digest).where(these).with_for_update(skip_locked=True)).scalars()
        gone = delete(table).where(table.c.repository_id == repository_id, table.c.digest.in_(list(locked)), unneeded)
        removed += [(repository_id, digest) for digest in connection.execute(gone.returning(table.c.digest)).scalars()]
    return removed


def _remove(
    connection: Connection, table: Table, keys: Sequence[Key], unneeded: ColumnElement[bool], *also: Any
) -> Any:
    these = select(table.c.digest).where(table.c.digest.in_([digest for (digest,) in keys]))
    locked = list(connection.execute(these.with_for_update(skip_locked=True)).scalars())
    gone = delete(table).where(table.c.digest.in_(locked), unneeded)
    return gone.returning(table.c.digest, table.c.size_bytes, *also)
