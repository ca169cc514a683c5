"""Database: SQLite in a file, or PostgreSQL; connections, transactions, the schema's version."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import contextmanager
from functools import partial
from typing import cast

from sqlalchemy import URL, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from cais.errors import Conflict, Invalid, Unavailable, from_os_error
from cais.records.log import WriteAheadLog
from cais.records.lookup import Change, Compiled, Lookup, NearConnections
from cais.records.together import Together
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    from sqlalchemy import Connection, Table

    Result = TypeVar("Result")

_BUSY_SECONDS = 30
_LOOK_SECONDS = 2  # everybody waits for a lookup; it has to wait for others next to never
_ATTEMPTS = 8
_LOG_PAGES = 4000  # of SQLite, with 4 KiB each: how long its log grows
# PostgreSQL: serialization failure, deadlock, a foreign key whose row another transaction has just removed.
_AGAIN = frozenset(("40001", "40P01", "23503"))
# PostgreSQL: a server that is gone is noticed within seconds, and a replica whose host is lost holds no lock for long.
# What the URL says stands before these.
_POSTGRES = {
    "application_name": "cais-registry",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "options": "-c idle_in_transaction_session_timeout=60s -c lock_timeout=30s",
}
# Said in a URL: it leads to a pooler that gives its connections by transaction (pgbouncer). Nothing outlasts one there:
# nothing is prepared, and time limits are the role's.
_POOLED = "pooled"
_VERSION_TABLE = "alembic_version"
_UPGRADE_LOCK = 0x63616973  # one number for all replicas ("cais")


class Ran(NamedTuple):
    """How many rows a change has touched; the rows of a lookup, or what a change returns."""

    touched: int
    rows: list[tuple[Any, ...]]


class Database:
    """``url`` is ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/NAME``. It connects when it is first used.

    What forks opens its own in each child: connections are not shared between processes.
    """

    def __init__(self, url: str, *, connections: int = 16, wait_seconds: float = _BUSY_SECONDS) -> None:
        """Up to twice as many ``connections`` for a moment; who gets none within ``wait_seconds`` is refused.

        Raises Invalid (a URL of another kind).
        """
        parsed = _parsed(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.where = parsed.render_as_string(hide_password=True)
        # How many rows an INSERT has made is known on SQLite, and on PostgreSQL where it is asked to be kept.
        options: dict[str, Any] = {"execution_options": {"preserve_rowcount": True}}
        options |= {"pool_size": connections, "max_overflow": connections, "pool_timeout": wait_seconds}
        if self.is_sqlite:
            # The driver begins nothing by itself: a read is one statement, a write begins with its own lock.
            options["connect_args"] = {"isolation_level": None, "check_same_thread": False, "timeout": _BUSY_SECONDS}
        else:
            options["pool_pre_ping"] = True
            parsed, options["connect_args"] = _of_postgres(parsed)
        self._engine = create_engine(parsed, **options)
        # A read is one statement: it needs no transaction, which on PostgreSQL would be two more round trips.
        self._reading = self._engine if self.is_sqlite else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._compiled: dict[Lookup, Compiled] = {}
        self._near: NearConnections | None = None
        self._log: WriteAheadLog | None = None
        self._together = Together(self._transaction)
        self._writer: Connection | None = None
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            self._log = WriteAheadLog(f"{parsed.database}-wal")
            self._near = NearConnections(partial(_connect_sqlite, str(parsed.database)), self.where)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for statements that only read; each sees what is committed when it begins."""
        try:
            with self._reading.connect() as connection:
                yield connection
        except NoFreeConnection:
            raise self._busy() from None
        except DBAPIError as error:
            raise self._translated(error) from None

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for statements that only read, which all see what is committed now."""
        try:
            if self.is_sqlite:
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN")
                    yield connection
            else:
                with self._engine.connect() as connection:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                    # Who reads it may take long over each row.
                    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                    yield connection
        except NoFreeConnection:
            raise self._busy() from None
        except DBAPIError as error:
            raise self._translated(error) from None

    def look(self, lookup: Lookup, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of a lookup. Raises Unavailable."""
        query = self._compilation(lookup)
        if self._near is not None:
            return self._near.look(query, values)
        with self.reading() as connection:
            found = connection.exec_driver_sql(query.text, query.named(values))
            return [tuple(row) for row in found.fetchall()]

    def run(self, connection: Connection, lookup: Lookup, **values: Any) -> Ran:
        """A lookup or a change, as a part of what ``write`` or ``reading`` has a connection for."""
        query = self._compilation(lookup)
        if not self.is_sqlite:
            found = connection.exec_driver_sql(query.text, query.named(values))
            return Ran(found.rowcount, [tuple(row) for row in found.fetchall()] if found.returns_rows else [])
        with _errors_of_driver:
            cursor = _driver(connection).execute(query.text, query.placed(values))
            rows = cursor.fetchall()
            return Ran(cursor.rowcount, rows)

    def run_for_each(self, connection: Connection, change: Change, rows: Sequence[dict[str, Any]]) -> None:
        """As ``run``, with the values of each row: one round trip, however many they are."""
        query = self._compilation(change)
        if not self.is_sqlite:
            connection.exec_driver_sql(query.text, [query.named(values) for values in rows])
            return
        with _errors_of_driver:
            _driver(connection).executemany(query.text, [query.placed(values) for values in rows])

    def _compilation(self, lookup: Lookup) -> Compiled:
        query = self._compiled.get(lookup)
        if query is None:
            query = self._compiled[lookup] = lookup.compiled(self, self._engine.dialect)
        return query

    def write(self, action: Callable[[Connection], Result], *, durable: bool = True) -> Result:
        """What ``action`` returns, after its changes are committed, all or none. ``durable`` is False for what need not
        survive the host, only this process.

        It is called again where another transaction was in its way, so it must have no effect but on the connection.
        Raises Unavailable (no database, or always busy), Conflict, and what ``action`` raises.
        """
        for attempt in range(_ATTEMPTS):
            try:
                if self._log is None:
                    with self._engine.connect() as connection:
                        result = action(connection)
                        connection.commit()
                        return result
                # One thread of this process at a time: SQLite's own waiting is a sleep.
                result = self._together.write(action)
                if durable:
                    self._log.sync()
                return result
            except NoFreeConnection:
                raise self._busy() from None
            except DBAPIError as error:
                if attempt == _ATTEMPTS - 1 or not self._may_be_repeated(error):
                    raise self._translated(error) from None
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise AssertionError("unreachable")

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """On SQLite, and the connection that is kept for it: another one would cost as much as the change."""
        if self._writer is None:
            self._writer = self._engine.connect()
        connection = self._writer
        try:
            with _errors_of_driver:
                _driver(connection).execute("BEGIN IMMEDIATE")
            yield connection
            if connection.in_transaction():  # something was done by SQLAlchemy
                connection.commit()
            else:
                with _errors_of_driver:
                    _driver(connection).commit()
        except BaseException:
            self._writer = None
            connection.close()  # which rolls back
            raise

    def insert(self, table: Table) -> Any:
        """An INSERT that can say ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql.insert(table)

    def is_made(self) -> bool:
        """Whether there is a schema, of whatever version. Asking makes nothing. Raises Unavailable."""
        if self.is_sqlite and not os.path.exists(str(self._engine.url.database)):
            return False
        with self.reading() as connection:
            return bool(inspect(connection).has_table(_VERSION_TABLE))

    def upgrade(self) -> None:
        """Brings the schema up to this version's, once, whoever else tries. Raises Unavailable, Denied, Conflict (too
        new)."""
        from cais.records.migrating import upgrade

        def steps(connection: Connection) -> None:
            if self.is_sqlite:
                connection.begin()  # or each step is committed by itself, and another process comes in between
            else:
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
            upgrade(connection)

        if self.is_sqlite:
            _make_file(str(self._engine.url.database))
        self.write(steps)

    def answers(self) -> None:
        """Raises Unavailable where the database does not answer."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._near is not None:
            self._near.close()
        self._engine.dispose()

    def _may_be_repeated(self, error: DBAPIError) -> bool:
        if self.is_sqlite:
            return isinstance(error, OperationalError) and "locked" in str(error.orig)
        return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _AGAIN

    def _busy(self) -> Unavailable:
        return Unavailable(f"all connections to the database {self.where} are taken")

    def _translated(self, error: DBAPIError) -> Exception:
        reason = str(error.orig).strip().partition("\n")[0]
        if isinstance(error, OperationalError) or error.connection_invalidated:
            return Unavailable(f"the database {self.where} cannot be used: {reason}")
        if getattr(error.orig, "sqlstate", None) in _AGAIN or "constraint" in reason.lower():
            return Conflict(f"another request has changed the same thing: {reason}")
        if isinstance(error, DataError):
            return Invalid("the database cannot hold such a text or number")  # a NUL, for one
        return error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid("the database's URL cannot be understood", hint="It is sqlite:///PATH or postgresql://HOST/NAME.")
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise Invalid(f"databases of the kind {backend!r} are not known", hint="There are sqlite and postgresql.")
    if backend == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise Invalid("the database's URL names no file", hint="It is sqlite:///PATH.")
    return parsed.set(drivername="postgresql+psycopg" if backend == "postgresql" else "sqlite")


def _make_file(path: str) -> None:
    """It holds hashes of passwords, and keys that sign: what SQLite puts beside it has the mode that it has."""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise from_os_error(error, f"make the database {path}") from None


def _of_postgres(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL for the driver, and what it has to be told besides."""
    given = dict(url.query)
    if given.pop(_POOLED, "") not in ("true", "1", "yes"):
        return url.set(query={**_POSTGRES, **given}), {}
    common = {name: value for name, value in _POSTGRES.items() if name != "options"}
    return url.set(query={**common, **given}), {"prepare_threshold": None}


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)


class _ErrorsOfDriver:
    """They are raised as SQLAlchemy raises them. Around each statement of a push: a generator would take longer."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise DBAPIError.instance(None, None, error, sqlite3.Error) from error


_errors_of_driver = _ErrorsOfDriver()


def _connect_sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOOK_SECONDS, isolation_level=None, check_same_thread=False)
    _prepare_sqlite(connection, None)
    return connection


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # A commit does not wait for the disk while it holds everybody else up: that is ``WriteAheadLog.sync``'s.
    # Moving the log into the database is, and holds them up for longer the more often it comes.
    log = ("journal_mode=WAL", "synchronous=NORMAL", f"wal_autocheckpoint={_LOG_PAGES}")
    for pragma in (*log, "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute("PRAGMA " + pragma)
