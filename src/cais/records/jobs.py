"""Jobs: work that one of all replicas does at a time, and when it was last done."""

from __future__ import annotations

import time

from sqlalchemy import JSON, Column, String, Table, or_, select, update

from cais.records.metadata import METADATA, UNIX_SECONDS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection

    from cais.records.database import Database

# ``holder`` does the job until ``until_unix`` (0: nobody does); who dies in the middle of it is waited for no longer.
JOBS = Table(
    "jobs",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until_unix", UNIX_SECONDS, nullable=False),
    Column("finished_unix", UNIX_SECONDS, nullable=False),
    Column("report", JSON),
)


class JobRow(NamedTuple):
    """``finished_unix`` is 0 where it was never done."""

    holder: str
    until_unix: float
    finished_unix: float
    report: dict[str, Any] | None


def find(connection: Connection, name: str) -> JobRow | None:
    wanted = select(JOBS.c.holder, JOBS.c.until_unix, JOBS.c.finished_unix, JOBS.c.report).where(JOBS.c.name == name)
    row = connection.execute(wanted).first()
    return None if row is None else JobRow(*row)


def take(
    database: Database, connection: Connection, name: str, holder: str, seconds: float, finished_before_unix: float
) -> bool:
    """Whether ``holder`` has the job for so long: nobody else does it, and it was not done since."""
    now = time.time()
    fresh = {"name": name, "holder": "", "until_unix": 0.0, "finished_unix": 0.0}
    connection.execute(database.insert(JOBS).values(fresh).on_conflict_do_nothing(index_elements=["name"]))
    free = or_(JOBS.c.until_unix < now, JOBS.c.holder == holder)
    taken = (
        update(JOBS)
        .where(JOBS.c.name == name, free, JOBS.c.finished_unix <= finished_before_unix)
        .values(holder=holder, until_unix=now + seconds)
    )
    return bool(connection.execute(taken).rowcount)


def hold(connection: Connection, name: str, holder: str, seconds: float) -> bool:
    """Goes on holding it. False: somebody else has taken it, because this took too long."""
    held = update(JOBS).where(JOBS.c.name == name, JOBS.c.holder == holder).values(until_unix=time.time() + seconds)
    return bool(connection.execute(held).rowcount)


def finish(connection: Connection, name: str, holder: str, report: dict[str, Any] | None) -> None:
    """Lets go of it; with a ``report`` it is done."""
    values: dict[str, Any] = {"holder": "", "until_unix": 0.0}
    if report is not None:
        values.update(finished_unix=time.time(), report=report)
    connection.execute(update(JOBS).where(JOBS.c.name == name, JOBS.c.holder == holder).values(values))
