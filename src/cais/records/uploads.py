"""Uploads that are not finished: how far they are, and where their bytes are, for whichever replica goes on."""

from __future__ import annotations

import json
import time

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, String, Table, bindparam, delete, select, update

from cais.records.lookup import Lookup
from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS
from cais.records.repositories import REPOSITORIES
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection, Insert

    from cais.records.database import Database

# ``parts`` is what ``blobs`` has said of the bytes before ``offset_bytes``.
UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("repository_id", IDENTITY, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("started_unix", UNIX_SECONDS, nullable=False),
    Column("updated_unix", UNIX_SECONDS, nullable=False, index=True),
    Column("offset_bytes", BigInteger, nullable=False),
    Column("parts", JSON, nullable=False),
)


class UploadRow(NamedTuple):
    id: str
    repository_id: int
    offset_bytes: int
    parts: list[Any]


_FIND = Lookup(
    select(UPLOADS.c.id, UPLOADS.c.repository_id, UPLOADS.c.offset_bytes, UPLOADS.c.parts)
    .join(REPOSITORIES, REPOSITORIES.c.id == UPLOADS.c.repository_id)
    .where(REPOSITORIES.c.name == bindparam("repository"), UPLOADS.c.id == bindparam("wanted"))
)


_ADVANCE = (
    update(UPLOADS)
    .where(UPLOADS.c.id == bindparam("upload"), UPLOADS.c.offset_bytes == bindparam("before"))
    .values(offset_bytes=bindparam("offset"), parts=bindparam("now"), updated_unix=bindparam("when"))
)
_END = delete(UPLOADS).where(UPLOADS.c.id == bindparam("upload"))
_END_AT = _END.where(UPLOADS.c.offset_bytes == bindparam("before"))


def _begin(database: Database) -> Insert:
    return database.insert(UPLOADS).on_conflict_do_nothing(index_elements=["id"])  # type: ignore[no-any-return]


def begin(database: Database, connection: Connection, upload: str, repository_id: int) -> None:
    """May be repeated."""
    now = time.time()
    row = {"id": upload, "repository_id": repository_id, "started_unix": now, "updated_unix": now}
    connection.execute(database.once(_begin), {"offset_bytes": 0, "parts": [], **row})


def find(database: Database, repository: str, upload: str) -> UploadRow | None:
    """The upload, if it was begun in ``repository``."""
    found = database.look(_FIND, repository=repository, wanted=upload)
    if not found:
        return None
    name, repository_id, offset_bytes, parts = found[0]
    return UploadRow(name, repository_id, offset_bytes, json.loads(parts) if isinstance(parts, str) else parts)


def advance(connection: Connection, upload: str, before_bytes: int, offset_bytes: int, parts: list[Any]) -> bool:
    """False where it is not at ``before_bytes`` any more: another writer was first. May be repeated: where this very
    step was taken before, it is so."""
    table = UPLOADS
    given = {"upload": upload, "before": before_bytes, "offset": offset_bytes, "now": parts, "when": time.time()}
    if connection.execute(_ADVANCE, given).rowcount:
        return True
    now = connection.execute(select(table.c.offset_bytes, table.c.parts).where(table.c.id == upload)).first()
    return now is not None and tuple(now) == (offset_bytes, parts)


def end(connection: Connection, upload: str, offset_bytes: int | None = None) -> bool:
    """Forgets the upload; False where it is gone, or not at ``offset_bytes`` (None: wherever it is)."""
    if offset_bytes is None:
        return bool(connection.execute(_END, {"upload": upload}).rowcount)
    return bool(connection.execute(_END_AT, {"upload": upload, "before": offset_bytes}).rowcount)
