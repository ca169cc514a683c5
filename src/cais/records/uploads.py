"""Uploads that are not finished: how far they are, and where their bytes are, for whichever replica goes on."""

from __future__ import annotations

import json
import time

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, String, Table, bindparam, delete, select, update

from cais.records.lookup import Change, Lookup
from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS
from cais.records.repositories import REPOSITORIES
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection

    from cais.records.database import Database

# No index but the key's: each would be written three times for each blob that is pushed, and the collector may as well
# read all rows.
# Of the bytes before ``offset_bytes``: ``parts`` is what ``blobs`` has said of them, ``hashed`` what they hash to.
UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("repository_id", IDENTITY, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("started_unix", UNIX_SECONDS, nullable=False),
    Column("updated_unix", UNIX_SECONDS, nullable=False),
    Column("offset_bytes", BigInteger, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("hashed", JSON(none_as_null=True)),
)


class UploadRow(NamedTuple):
    id: str
    repository_id: int
    offset_bytes: int
    parts: list[Any]
    hashed: dict[str, str] | None = None


_FIND = Lookup(
    select(UPLOADS.c.id, UPLOADS.c.repository_id, UPLOADS.c.offset_bytes, UPLOADS.c.parts, UPLOADS.c.hashed)
    .join(REPOSITORIES, REPOSITORIES.c.id == UPLOADS.c.repository_id)
    .where(REPOSITORIES.c.name == bindparam("repository"), UPLOADS.c.id == bindparam("wanted"))
)


_BEGIN = Change(lambda database: database.insert(UPLOADS).on_conflict_do_nothing(index_elements=["id"]))
_ADVANCE = Change(
    lambda database: (
        update(UPLOADS)
        .where(UPLOADS.c.id == bindparam("upload"), UPLOADS.c.offset_bytes == bindparam("before"))
        .values(
            offset_bytes=bindparam("offset"),
            parts=bindparam("now"),
            hashed=bindparam("hash"),
            updated_unix=bindparam("when"),
        )
    )
)
_END = delete(UPLOADS).where(UPLOADS.c.id == bindparam("upload"))
_END_ANY = Change(lambda database: _END)
_END_AT = Change(lambda database: _END.where(UPLOADS.c.offset_bytes == bindparam("before")))


def begin(database: Database, connection: Connection, uploads: Sequence[str], repository_id: int) -> None:
    """May be repeated."""
    now = time.time()
    common = {"repository_id": repository_id, "started_unix": now, "updated_unix": now, "offset_bytes": 0}
    database.run_for_each(
        connection, _BEGIN, [{"id": upload, **common, "parts": "[]", "hashed": None} for upload in uploads]
    )


def find(database: Database, repository: str, upload: str) -> UploadRow | None:
    """The upload, if it was begun in ``repository``."""
    found = database.look(_FIND, repository=repository, wanted=upload)
    if not found:
        return None
    name, repository_id, offset_bytes, *documents = found[0]
    return UploadRow(
        name, repository_id, offset_bytes, *(json.loads(one) if isinstance(one, str) else one for one in documents)
    )


def advance(database: Database, connection: Connection, before: UploadRow, now: UploadRow) -> bool:
    """False where it is not where ``before`` says any more: another writer was first. May be repeated: where this very
    step was taken before, it is so."""
    table = UPLOADS
    hashed = None if now.hashed is None else json.dumps(now.hashed)
    if database.run(
        connection, _ADVANCE, upload=now.id, before=before.offset_bytes, offset=now.offset_bytes,
        now=json.dumps(now.parts), hash=hashed, when=time.time(),
    ).touched:  # fmt: skip
        return True
    found = connection.execute(select(table.c.offset_bytes, table.c.parts).where(table.c.id == now.id)).first()
    return found is not None and tuple(found) == (now.offset_bytes, now.parts)


def end(database: Database, connection: Connection, upload: str, offset_bytes: int | None = None) -> bool:
    """Forgets the upload; False where it is gone, or not at ``offset_bytes`` (None: wherever it is)."""
    if offset_bytes is None:
        return bool(database.run(connection, _END_ANY, upload=upload).touched)
    return bool(database.run(connection, _END_AT, upload=upload, before=offset_bytes).touched)
