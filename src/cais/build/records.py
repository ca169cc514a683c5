"""Build records: what was built from what. The cache is these facts; the file systems are snapshots like all others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

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
    # To find what a step was before, wherever it stands now; and what became of results that are gone.
    """ALTER TABLE build_records ADD COLUMN stage TEXT NOT NULL DEFAULT '';
    ALTER TABLE build_records ADD COLUMN instruction TEXT NOT NULL DEFAULT '';
    ALTER TABLE build_records ADD COLUMN origin TEXT NOT NULL DEFAULT '{}';
    CREATE INDEX build_records_by_stage ON build_records (stage);
    CREATE INDEX build_records_by_instruction ON build_records (instruction);
    CREATE TABLE build_pruned (
        key TEXT PRIMARY KEY,
        step TEXT NOT NULL,
        at REAL NOT NULL,
        by TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
    CREATE INDEX build_pruned_by_step ON build_pruned (step);
    CREATE INDEX build_pruned_by_time ON build_pruned (at);
    CREATE TRIGGER build_records_pruned AFTER DELETE ON build_records BEGIN
        INSERT OR REPLACE INTO build_pruned (key, step, at) VALUES (old.key, old.step, julianday('now'));
    END""",
    # The index by use answers how much there is, and how old the oldest is.
    """ALTER TABLE build_records ADD COLUMN uses INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX build_records_by_use ON build_records (used, size_bytes);
    CREATE INDEX build_records_by_chain ON build_records (chain_id)""",
)

# Of each step: to say what changed, and to take unchanged files over.
LISTINGS_KEPT = 3

# What is remembered of pruned records.
PRUNED_KEPT_DAYS = 30
# Of a stage's records, the last ones are looked through for what a step was before.
_EARLIER = 64

# Snapshots that records point at are kept until the records are pruned.
ROOTS = ("SELECT 'chain:' || chain_id FROM build_records",)


class Mark(NamedTuple):
    """Which step a vertex is: ``step`` of which Dockerfile, in which ``stage``, and what ``instruction`` it is wherever
    it stands. Digests. ``origin`` is what is said of it: its text and lines, what it stands on (``below``), and the
    Dockerfile (``place``).
    """

    step: str
    stage: str = ""
    instruction: str = ""
    origin: Mapping[str, Any] = {}


class Record(NamedTuple):
    """One step's result. ``parts`` are what its key was made of; ``step`` is which step of which Dockerfile it was, and
    ``stage``, ``instruction`` and ``origin`` what ``Mark`` says.
    """

    key: str
    step: str
    chain_id: Digest
    diff_id: Digest
    size_bytes: int
    newest: int
    parts: dict[str, Any]
    stage: str = ""
    instruction: str = ""
    origin: Mapping[str, Any] = {}


class Pruned(NamedTuple):
    """A record that is gone: when (seconds since 1970), and by what command ("" where that is not known).

    ``same``: it was that of the key itself, and not of something else that the step was.
    """

    at: float
    by: str
    same: bool


_COLUMNS = "key, step, chain_id, diff_id, size_bytes, newest, parts, stage, instruction, origin"


class Records:
    """The rows of what was built: by key, and by step for the reasons of a miss. Sizes are in bytes."""

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
        return None if row is None else _record(row)

    def earlier(self, mark: Mark) -> list[Record]:
        """What may have been ``mark`` before: the last records of its stage, and then of its instruction elsewhere.

        Those of the last build come first.
        """
        rows = self._database.rows(
            f"""SELECT {_COLUMNS} FROM build_records WHERE step = ? OR stage = ?
                ORDER BY used DESC, created DESC LIMIT ?""",
            (mark.step, mark.stage, _EARLIER),
        )
        rows += self._database.rows(
            f"""SELECT {_COLUMNS} FROM build_records WHERE instruction = ? AND stage != ?
                ORDER BY used DESC, created DESC LIMIT 8""",
            (mark.instruction, mark.stage),
        )
        return [_record(row) for row in rows]

    def pruned(self, key: str, step: str) -> Pruned | None:
        """What became of the record of ``key``, or else of the last one of ``step``; None where nothing is known."""
        row = self._database.row(
            """SELECT (at - 2440587.5) * 86400.0, by, key = ? AS same FROM build_pruned WHERE key = ? OR step = ?
               ORDER BY same DESC, at DESC LIMIT 1""",
            (key, key, step),
        )
        return None if row is None else Pruned(row[0], row[1], bool(row[2]))

    def of_chain(self, chain: Digest) -> list[Record]:
        """All records whose result is ``chain``: one step may have several keys."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM build_records WHERE chain_id = ?", (chain,))
        return [_record(row) for row in rows]

    @staticmethod
    def pruned_by(change: Transaction, command: str) -> None:
        """Says of the records that ``change`` deleted which command did it."""
        change.execute("UPDATE build_pruned SET by = ? WHERE by = ''", (command,))

    def put(self, record: Record, listing: tuple[str, bytes] | None = None) -> None:
        """``listing``: a copied selection's digest and list of files, to say later what changed in it.

        The listings of a step's earlier results are forgotten, but for the last few.
        """
        values = (*record[:6], _json(record.parts), record.stage, record.instruction, _json(record.origin))
        with self._database.transaction() as change:
            change.execute(
                f"INSERT OR REPLACE INTO build_records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
            )
            change.execute(
                "DELETE FROM build_pruned WHERE key = ? OR at < julianday('now') - ?", (record.key, PRUNED_KEPT_DAYS)
            )
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
                """UPDATE build_records SET used = julianday('now'), uses = uses + 1 WHERE key = ?
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

    @classmethod
    def forget(cls, change: Transaction, chains: Sequence[str], command: str) -> None:
        """Forgets the records of these results; ``command`` is who says so. The snapshots are the collector's."""
        change.execute_many("DELETE FROM build_records WHERE chain_id = ?", [(chain,) for chain in chains])
        cls.pruned_by(change, command)


def _record(row: Sequence[Any]) -> Record:
    return Record(
        row[0], row[1], Digest(row[2]), Digest(row[3]), row[4], row[5], json.loads(row[6]), row[7], row[8],
        json.loads(row[9]),
    )  # fmt: skip


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
