"""The one local database: SQLite in WAL mode, shared by many processes and threads; each room owns its tables.

Reads see a consistent state and never wait. Writes are short transactions that start as writers (BEGIN IMMEDIATE), so
that none fails half-way because another wrote first.
"""

from __future__ import annotations

import os
import sys
from _thread import _local, allocate_lock

from cais.errors import from_os_error


def _load():  # type: ignore[no-untyped-def]
    """The C part of ``sqlite3``: what the package adds, for dates, is not needed and costs 2 ms at each start.

    It takes functools' cache for its statements, and with it the collections and more: a tenth of what `exec` costs.
    That cache is made in C, too, and handed to it here. A process with threads has functools (``threading`` loads it).
    """
    if "functools" in sys.modules:
        import _sqlite3

        return _sqlite3
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

    functools: Any = type(sys)("functools")
    functools.lru_cache = lambda size: lambda function: _lru_cache_wrapper(function, size, False, None)
    sys.modules["functools"] = functools
    try:
        import _sqlite3
    finally:
        del sys.modules["functools"]
    return _sqlite3


TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from cais.errors import CaisError
else:
    sqlite3 = _load()

BUSY_TIMEOUT_SECONDS = 60.0
_SHORT_LOG_PAGES = 200  # SQLite's own measure is 1,000
# The index of the log, a file that processes share, could not be made as large as it has to be (32 KiB).
_NO_ROOM_FOR_INDEX = "SQLITE_IOERR_SHMSIZE"


class _Held:
    """A thread's connection, closed when the thread ends: by itself it would stay until cycles are collected.

    A forked child has none of its parent's other threads, and lets go of what was theirs: a connection that is the
    parent's, in whatever state, with locks that nobody frees there. It is never touched again.
    """

    __slots__ = ("connection", "process")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.process = os.getpid()

    def __del__(self) -> None:
        if self.process == os.getpid():
            self.connection.close()
        else:
            _abandoned.append(self.connection)


# Kept from being closed by losing their last reference.
_abandoned: list[_Held | sqlite3.Connection] = []


class Database:
    """``schemas`` gives for each room its migration steps, in order; a step once published is never changed.

    It is called only when the file is not at ``version``, the number of all steps: a start loads no room for it.
    Opened on first use. Methods raise Unavailable (no space, read-only, locked too long), Corrupt or Denied.
    """

    def __init__(self, path: str, version: int, schemas: Callable[[], Mapping[str, Sequence[str]]]) -> None:
        self.path = path
        self._version = version
        self._schemas = schemas
        self._local = _local()
        self._migrated = False
        self._owned = False
        self._lock = allocate_lock()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, as tuples."""
        try:
            return self._connection().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error)

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row of a query as a tuple, or None."""
        try:
            return self._connection().execute(sql, parameters).fetchone()
        except sqlite3.Error as error:
            raise self._explained(error)

    def transaction(self) -> Transaction:
        """``with database.transaction() as change:`` commits at the end, or rolls back where anything was raised."""
        return Transaction(self)

    def require_own(self) -> None:
        """Raises Denied where the root directory is another user's: what root made is not the user's to change, and
        what root would add to a user's, the user could not remove. Reading it is for everyone who may.
        """
        if not self._owned:
            try:
                self._connection()
                owner = os.stat(self.path).st_uid
            except sqlite3.Error as error:
                raise self._explained(error)
            except OSError as error:
                raise from_os_error(error, f"read {self.path}")
            if owner != os.geteuid() and owner != self._owner_of_new_files():
                from cais.host.database_errors import foreign

                raise foreign(os.path.dirname(self.path), owner)
            self._owned = True

    def _owner_of_new_files(self) -> int:
        """Some file systems have one owner for all, whoever writes: then nothing there is another's."""
        path = f"{self.path}.{os.getpid()}"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:
            return -1
        try:
            return os.fstat(descriptor).st_uid
        finally:
            os.close(descriptor)
            os.unlink(path)

    def close(self) -> None:
        """Closes this thread's connection."""
        held = getattr(self._local, "held", None)
        if held is not None:
            held.connection.close()
            self._local.held = None

    def abandon(self) -> None:
        """For a process that ends now: leaves this thread's connection to the kernel.

        The last one to close a database in WAL mode writes all back and syncs it, which costs a short command more than
        its work; the next one that opens it finds the log as it is.
        """
        held = getattr(self._local, "held", None)
        if held is not None:
            _abandoned.append(held)

    def write_back_soon(self) -> None:
        """From now on this thread's commits write the log back while it is short; for who has the time to sync.

        Who is the first to open the database reads all of its log: at its usual length that takes longer than what a
        short command asks for.
        """
        try:
            self._connection().execute(f"PRAGMA wal_autocheckpoint={_SHORT_LOG_PAGES}")
        except sqlite3.Error as error:
            raise self._explained(error)

    def integrity_errors(self) -> list[str]:
        """What SQLite itself finds wrong with the file; empty when nothing is."""
        found = [str(row[0]) for row in self.rows("PRAGMA quick_check(20)")]
        return [] if found == ["ok"] else found

    def _explained(self, error: sqlite3.Error) -> CaisError:
        from cais.host.database_errors import explained

        return explained(error, self.path)

    def _connection(self) -> sqlite3.Connection:
        held: _Held | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = _Held(self._open())
        return held.connection

    def _open(self) -> sqlite3.Connection:
        directory = os.path.dirname(self.path)
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
        except OSError as error:
            from cais.host.database_errors import not_made

            raise not_made(directory, error)
        try:
            # Whatever the directory's mode: plans of containers hold secrets. SQLite's other files follow this one.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError:
            pass  # it is there; or SQLite says what is wrong
        connection = self._connect()
        with self._lock:
            if not self._migrated:
                try:
                    if connection.execute("PRAGMA user_version").fetchone()[0] != self._version:
                        from cais.host.migrations import migrate

                        migrate(connection, self.path, self._version, self._schemas())
                except sqlite3.OperationalError:
                    if not self._readable_only():
                        raise
                    connection.close()
                    connection = self._open_read_only()
                self._migrated = True
        return connection

    def _connect(self, *, alone: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        if alone:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.OperationalError as error:
            connection.close()
            if alone or error.sqlite_errorname != _NO_ROOM_FOR_INDEX:
                raise
            # In this process's own memory, then, which keeps others out for as long as it takes: what fills the disk
            # can still be seen, and be ended and removed.
            return self._connect(alone=True)
        return connection

    def _open_read_only(self) -> sqlite3.Connection:
        """With the log that a writer left, where SQLite can read it there; else what was written back."""
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            connection = sqlite3.connect(
                f"file:{self.path}?{mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
                break
            except sqlite3.OperationalError:
                connection.close()
        return connection

    def _readable_only(self) -> bool:
        """Whether the file system is read-only; what is there can be read all the same, as nobody writes it."""
        return (
            os.path.exists(self.path)
            and os.access(self.path, os.R_OK)
            and bool(os.statvfs(os.path.dirname(self.path)).f_flag & os.ST_RDONLY)
        )


class Transaction:
    """One writing transaction. ``execute`` and ``rows`` inside it see its own changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Transaction:
        try:
            self._database.require_own()
            self._connection = self._database._connection()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except KeyboardInterrupt:
                # It came while others wrote, and is raised after what it should have stopped: nobody would end that.
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise self._database._explained(error)
        return self

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs one statement; returns the number of rows that it changed."""
        try:
            return self._connection.execute(sql, parameters).rowcount
        except sqlite3.Error as error:
            raise self._database._explained(error)

    def execute_many(self, sql: str, rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._database._explained(error)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return self._database.rows(sql, parameters)

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self._database.row(sql, parameters)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
                return
            except sqlite3.Error as failure:
                self._roll_back()
                raise self._database._explained(failure)
        self._roll_back()

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # SQLite has rolled back by itself (full disk, I/O error)
