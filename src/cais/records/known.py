"""All bytes that the records know of: locations of blobs and of rubbish, and uploads; in pages, as they may be many."""

from __future__ import annotations

from sqlalchemy import func, select

from cais.records.blobs import BLOBS, GARBAGE
from cais.records.uploads import UPLOADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, Table


def count(connection: Connection) -> int:
    """How many there are, about."""
    tables = (BLOBS, GARBAGE, UPLOADS)
    return sum(connection.execute(select(func.count()).select_from(table)).scalar() or 0 for table in tables)


def locations(connection: Connection, page: int) -> Iterator[dict[str, Any]]:
    """Of blobs, then of rubbish."""
    for table, key in ((BLOBS, BLOBS.c.digest), (GARBAGE, GARBAGE.c.id)):
        for row in _pages(connection, table, key, table.c.location, page):
            yield row[1]


def uploads(connection: Connection, page: int) -> Iterator[str]:
    """Their ids."""
    for row in _pages(connection, UPLOADS, UPLOADS.c.id, UPLOADS.c.id, page):
        yield row[0]


def _pages(
    connection: Connection, table: Table, key: ColumnElement[Any], value: ColumnElement[Any], page: int
) -> Iterator[Any]:
    last = None
    while True:
        wanted = select(key.label("key"), value.label("value")).order_by(key).limit(page)
        rows = list(connection.execute(wanted if last is None else wanted.where(key > last)))
        yield from rows
        if len(rows) < page:
            return
        last = rows[-1][0]
