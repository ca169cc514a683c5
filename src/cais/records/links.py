"""Links: which repositories have a blob or a manifest. Both are kept alike, in a table of their own each."""

from __future__ import annotations

import time

from sqlalchemy import bindparam, delete, update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Table


def renew(connection: Connection, table: Table, repository_id: int, digests: Iterable[str]) -> set[str]:
    """Those of ``digests`` that the repository has; their links are fresh again, and stay while this lasts.

    In the order of the digests: two transactions that renew the same links wait for each other and for nothing else.
    """
    found = set()
    renewed = (
        update(table)
        .where(table.c.repository_id == repository_id, table.c.digest == bindparam("wanted"))
        .values(linked_unix=time.time())
    )
    for digest in sorted(set(digests)):
        if connection.execute(renewed, {"wanted": digest}).rowcount:
            found.add(digest)
    return found


def remove(connection: Connection, table: Table, repository_id: int, digest: str) -> bool:
    """Whether the repository had it."""
    gone = delete(table).where(table.c.repository_id == repository_id, table.c.digest == digest)
    return bool(connection.execute(gone).rowcount)
