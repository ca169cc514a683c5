"""Lookups and changes: the statements of every pull and push, compiled once and run by the driver itself.

What SQLAlchemy does around a statement (a connection of the pool, the context of an execution, rows with names) takes
longer than SQLite takes to answer it. So these few go around it; all others do not.
"""

from __future__ import annotations

import sqlite3
import threading

from cais.errors import Unavailable
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import ClauseElement, Dialect

    from cais.records.database import Database


class Lookup:
    """A query with bound parameters. Its rows are tuples as the driver gives them: it selects texts, bytes and numbers
    (JSON is a text on one database, and a value on the other)."""

    __slots__ = ("_query",)

    def __init__(self, query: ClauseElement) -> None:
        self._query = query

    def compiled(self, database: Database, dialect: Dialect) -> Compiled:
        made: Any = self._statement(database).compile(dialect=dialect)
        constants = {name: value for name, value in made.params.items() if value is not None}
        return Compiled(str(made), tuple(made.positiontup or ()), constants)

    def _statement(self, database: Database) -> ClauseElement:
        return self._query


class Change(Lookup):
    """An INSERT, UPDATE or DELETE. An INSERT is of all columns. JSON is given as a text.

    ``make`` is called once for a database: what an INSERT may say of conflicts differs.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Database], ClauseElement]) -> None:
        self._make = make

    def _statement(self, database: Database) -> ClauseElement:
        return self._make(database)


class Compiled(NamedTuple):
    """``names`` of the parameters in their order, where they have places and no names (SQLite); ``constants`` are those
    that nobody gives (the OFFSET of 0 that is written beside a LIMIT)."""

    text: str
    names: tuple[str, ...]
    constants: dict[str, Any]

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**self.constants, **values} if self.constants else values

    def placed(self, values: dict[str, Any]) -> list[Any]:
        values = self.named(values)
        return [values[name] for name in self.names]


class NearConnections:
    """A connection to the SQLite file for each thread, only to read."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], where: str) -> None:
        self._connect, self._where = connect, where
        self._of_thread = threading.local()
        self._all: list[sqlite3.Connection] = []

    def look(self, query: Compiled, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Raises Unavailable."""
        try:
            connection = getattr(self._of_thread, "connection", None)
            if connection is None:
                connection = self._of_thread.connection = self._connect()
                self._all.append(connection)
            return connection.execute(query.text, query.placed(values)).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"the database {self._where} cannot be used: {error}") from None

    def close(self) -> None:
        for connection in self._all:
            connection.close()
