"""All records at once, as JSON values, table by table: what a backup keeps, on whichever of the databases.

What belongs to a moment (uploads that are not finished, rubbish, who does which job, who failed to sign in) is not
in it.
"""

from __future__ import annotations

import base64

from sqlalchemy import LargeBinary, func, insert, select, text

from cais.errors import Conflict, Invalid
from cais.records import metadata
from cais.records.accounts import ACCOUNTS
from cais.records.repositories import REPOSITORIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from sqlalchemy import Connection, Table

    from cais.records.database import Database

OF_THE_MOMENT = frozenset(("uploads", "garbage", "jobs", "sign_in_failures"))
_PAGE = 1000


def tables() -> list[Table]:
    """Those that are kept, each behind the ones that it refers to."""
    return [table for table in metadata.METADATA.sorted_tables if table.name not in OF_THE_MOMENT]


def dump(connection: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its table's name, in an order in which they can be loaded. The connection is one of a snapshot."""
    for table in tables():
        rows = connection.execution_options(yield_per=_PAGE).execute(select(table))
        binary = [column.name for column in table.columns if isinstance(column.type, LargeBinary)]
        for row in rows.mappings():
            values = dict(row)
            for name in binary:
                if values[name] is not None:
                    values[name] = base64.b64encode(values[name]).decode()
            yield table.name, values


def load(database: Database, connection: Connection, rows: Iterable[tuple[str, dict[str, Any]]]) -> int:
    """Puts the rows of a dump where nothing is; returns how many.

    Raises Conflict (something is there), Invalid (rows of another schema).
    """
    for held in (REPOSITORIES, ACCOUNTS):
        if connection.execute(select(held.c.id).limit(1)).first() is not None:
            raise Conflict(
                f"the registry is not empty: it has {held.name}",
                hint="Restore to a new root directory, and a new database.",
            )
    known = {table.name: table for table in tables()}
    count = 0
    waiting: list[dict[str, Any]] = []
    current = ""
    for name, values in rows:
        table = known.get(name)
        if table is None or set(values) - {column.name for column in table.columns}:
            raise Invalid(
                f"the backup has rows of {name!r} that this version does not know",
                hint="It was made by a newer version of cais: restore it with that one.",
            )
        if waiting and (name != current or len(waiting) == _PAGE or values.keys() != waiting[0].keys()):
            connection.execute(insert(known[current]), waiting)
            waiting = []
        current = name
        for column in table.columns:
            if isinstance(column.type, LargeBinary) and values.get(column.name) is not None:
                values[column.name] = base64.b64decode(values[column.name])
        waiting.append(values)
        count += 1
    if waiting:
        connection.execute(insert(known[current]), waiting)
    if not database.is_sqlite:
        _count_on(connection)
    return count


def _count_on(connection: Connection) -> None:
    """Ids that PostgreSQL gives from now on are behind those that were loaded."""
    for table in tables():
        key = list(table.primary_key.columns)
        if len(key) == 1 and key[0].autoincrement and table.autoincrement_column is not None:
            sequence = text("SELECT pg_get_serial_sequence(:table, :key)")
            name = connection.execute(sequence, {"table": table.name, "key": key[0].name}).scalar()
            last = connection.execute(select(func.max(key[0]))).scalar()
            if name and last:
                connection.execute(text("SELECT setval(:name, :last)"), {"name": name, "last": last})
