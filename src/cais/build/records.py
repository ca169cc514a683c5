"""Build records: what was built from what. The cache is these facts; the file systems are snapshots like all others."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cais.host.database import Database, Transaction
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = (
    """CREATE TABLE build_records (
        key TEXT PRIMARY KEY,
        step TEXT NOT NULL,
        chain_id TEXT NOT NULL,
        diff_id TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        parts TEXT NOT NULL,
        created REAL NOT NULL DEFAULT (julianday('now')),
        used REAL NOT NULL DEFAULT (julianday('now'))
    ) WITHOUT ROWID;
    CREATE INDEX build_records_by_step ON build_records (step, created);
    CREATE TABLE build_listings (
        digest TEXT PRIMARY KEY,
        listing BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE builds (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        started REAL NOT NULL,
        finished REAL,
        status TEXT NOT NULL,
        image TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID""",
)

# Of each step: to say what changed, and to take unchanged files over.
LISTINGS_KEPT = 3

# Snapshots that records point at are kept until the records are pruned.
ROOTS = ("SELECT 'chain:' || chain_id FROM build_records",)


class Record(NamedTuple):
    """One step's result. ``parts`` are what its key was made of; ``step`` is which step of which Dockerfile it was."""

    key: str
    step: str
    chain_id: Digest
    diff_id: Digest
    size_bytes: int
    newest: int
    parts: dict[str, Any]


_COLUMNS = "key, step, chain_id, diff_id, size_bytes, newest, parts"


class Records:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str) -> Record | None:
        """The record of ``key`` whose snapshot is there."""
        return self._one("key = ? AND EXISTS (SELECT 1 FROM snapshots WHERE chain_id = build_records.chain_id)", key)

    def latest(self, step: str) -> Record | None:
        """What ``step`` was the last time: built, or found to be built already."""
        return self._one("step = ? ORDER BY used DESC, created DESC LIMIT 1", step)

    def _one(self, clause: str, value: str) -> Record | None:
        row = self._database.row(f"SELECT {_COLUMNS} FROM build_records WHERE {clause}", (value,))
        if row is None:
            return None
        return Record(row[0], row[1], Digest(row[2]), Digest(row[3]), row[4], row[5], json.loads(row[6]))

    def put(self, record: Record, listing: tuple[str, bytes] | None = None) -> None:
        """``listing``: a copied selection's digest and list of files, to say later what changed in it.

        The listings of a step's earlier results are forgotten, but for the last few.
        """
        values = (*record[:6], json.dumps(record.parts, separators=(",", ":"), ensure_ascii=True))
        with self._database.transaction() as change:
            change.execute(f"INSERT OR REPLACE INTO build_records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            if listing is not None:
                change.execute("INSERT OR IGNORE INTO build_listings VALUES (?, ?)", listing)
                change.execute(
                    """DELETE FROM build_listings WHERE digest != ? AND digest IN (
                        SELECT json_extract(parts, '$.files') FROM build_records WHERE step = ?
                        ORDER BY used DESC, created DESC LIMIT -1 OFFSET ?)""",
                    (listing[0], record.step, LISTINGS_KEPT),
                )

    def touch(self, change: Transaction, keys: Sequence[str]) -> bool:
        """Marks records as used now; False where one of them, or its snapshot, is not there any more."""
        found = [
            change.execute(
                """UPDATE build_records SET used = julianday('now') WHERE key = ?
                   AND EXISTS (SELECT 1 FROM snapshots WHERE chain_id = build_records.chain_id)""",
                (key,),
            )
            for key in keys
        ]
        return all(found)

    def listing(self, digest: str) -> bytes | None:
        row = self._database.row("SELECT listing FROM build_listings WHERE digest = ?", (digest,))
        return None if row is None else bytes(row[0])

    @staticmethod
    def forget_listings(change: Transaction) -> None:
        """Forgets the listings whose records are gone."""
        change.execute(
            """DELETE FROM build_listings WHERE digest NOT IN (
                SELECT json_extract(parts, '$.files') FROM build_records
                WHERE json_extract(parts, '$.files') NOTNULL)"""
        )

    def prune(self) -> int:
        """Forgets all records; returns how many there were. The snapshots are the collector's."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM build_listings")
            return change.execute("DELETE FROM build_records")
