"""The schema of the local database, brought to its version; loaded only where it is not.

The file knows the number of all steps that it has seen (``user_version``), and of each room's (the table ``schema``).
"""

from __future__ import annotations

import os
from _sqlite3 import OperationalError, complete_statement

from cais.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from sqlite3 import Connection


def migrate(connection: Connection, path: str, version: int, schemas: Mapping[str, Sequence[str]]) -> None:
    """Runs the steps that the file at ``path`` lacks, in one transaction; ``version`` is the number of them all.

    Raises Unavailable where the file is of a newer version, and what SQLite raises.
    """
    _write_ahead(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] > version:
            raise Unavailable(
                f"the root directory {os.path.dirname(path)} was written by a newer version of Cais",
                hint="Upgrade Cais, or choose another root directory with CAIS_ROOT or --root.",
            )
        connection.execute("CREATE TABLE IF NOT EXISTS schema (room TEXT PRIMARY KEY, version INTEGER)")
        present = dict(connection.execute("SELECT room, version FROM schema"))
        for room, steps in schemas.items():
            for step in steps[present.get(room, 0) :]:
                for statement in _statements(step):
                    connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO schema VALUES (?, ?)", (room, len(steps)))
        connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _write_ahead(connection: Connection) -> None:
    """WAL mode, which the file keeps. SQLite waits for nobody here: of several commands that begin in a new root
    directory at once, all but one are told that it is locked. They wait as a writer does, and look again."""
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")


def _statements(step: str) -> Iterator[str]:
    """The statements of a migration step; those inside a trigger belong to it."""
    statement = ""
    for piece in step.split(";"):
        statement += piece + ";"
        if complete_statement(statement):
            if statement.strip("; \n"):
                yield statement
            statement = ""
    if statement.strip("; \n"):
        yield statement
