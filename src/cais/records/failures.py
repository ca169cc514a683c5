"""Failed attempts to sign in, as all processes and replicas count them: who fails too often waits wherever they ask."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, bindparam, case, delete, select

from cais.records.lookup import Change, Lookup
from cais.records.metadata import METADATA, UNIX_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.dialects.sqlite import Insert

    from cais.records.database import Database

# ``who`` is a digest of where attempts come from, or of that and a name: neither is kept. The count ends at ``until``.
SIGN_IN_FAILURES = Table(
    "sign_in_failures",
    METADATA,
    Column("who", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("until_unix", UNIX_SECONDS, nullable=False, index=True),
)

_FIND = Lookup(
    select(SIGN_IN_FAILURES.c.count, SIGN_IN_FAILURES.c.until_unix).where(
        SIGN_IN_FAILURES.c.who == bindparam("wanted"), SIGN_IN_FAILURES.c.until_unix > bindparam("now")
    )
)


def find(database: Database, who: str, now: float) -> tuple[int, float]:
    """How many there were, and until when they count; (0, 0.0) where there were none."""
    found = database.look(_FIND, wanted=who, now=now)
    return (found[0][0], found[0][1]) if found else (0, 0.0)


def add(database: Database, connection: Connection, who: str, now: float, until_unix: float) -> None:
    """One more, or the first one, which counts until then."""
    database.run(connection, _ADD, who=who, count=1, until_unix=until_unix, now=now)


def remove_expired(connection: Connection, now: float) -> None:
    """Called with each failure, it keeps no more of them than come in while one counts."""
    connection.execute(delete(SIGN_IN_FAILURES).where(SIGN_IN_FAILURES.c.until_unix <= now))


def _add(database: Database) -> Insert:
    table = SIGN_IN_FAILURES
    added: Insert = database.insert(table)
    is_over = table.c.until_unix <= bindparam("now")
    return added.on_conflict_do_update(
        index_elements=["who"],
        set_={
            "count": case((is_over, 1), else_=table.c.count + 1),
            "until_unix": case((is_over, added.excluded.until_unix), else_=table.c.until_unix),
        },
    )


_ADD = Change(_add)
