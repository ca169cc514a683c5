"""SourceStore: what was fetched, by what was asked for. A row names a directory of its own, which nobody changes.

Ingest, then commit: a directory is filled under ``ingest/``, in the name of this process's lease; its rename and its
row come in one transaction. A row that is replaced or forgotten leaves its directory to the collector, which spares
what a living process holds. Repositories are the exception: their directory grows, under a lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence

from cais.errors import from_os_error
from cais.host.database import Database, Transaction
from cais.host.files import random_name, remove_tree
from cais.host.leases import Leases
from cais.host.locks import FileLock
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = (
    """CREATE TABLE sources (
        key TEXT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        shown TEXT NOT NULL,
        facts TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        used REAL NOT NULL
    ) WITHOUT ROWID""",
)
LEASE_PREFIX = "source:"
# So few that they need not be removed, so many that two fetches seldom wait for each other without a reason.
_LOCKS = 256


class Kept(NamedTuple):
    """``kind`` is ``file``, ``tree`` (unpacked or checked out) or ``repository``. ``shown`` says what it is, without
    credentials; ``facts`` is what its kind wants to know; ``used`` is in seconds since 1970."""

    key: str
    id: str
    kind: str
    shown: str
    facts: Mapping[str, Any]
    size_bytes: int
    used: float
    path: str


def key_of(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()


class SourceStore:
    """Threads and processes may share it."""

    def __init__(self, root: str, database: Database, leases: Leases) -> None:
        self.directory = os.path.join(root, "sources")
        self._database = database
        self._leases = leases

    def find(self, key: str) -> Kept | None:
        """What is kept under ``key``, held for this process from now on."""
        with self._database.transaction() as change:
            found = self._rows(change, "WHERE key = ?", (key,))
            if not found or not os.path.isdir(found[0].path):
                return None
            self._leases.hold(change, LEASE_PREFIX + found[0].id)
            change.execute("UPDATE sources SET used = ? WHERE key = ?", (time.time(), key))
            return found[0]

    def ingest(self) -> Ingest:
        """``with store.ingest() as path``: an empty directory to fill; not committed, it is gone."""
        return Ingest(os.path.join(self.directory, "ingest", f"{self._leases.id}.{random_name(8)}"))

    def commit(self, path: str, key: str, kind: str, shown: str, facts: Mapping[str, Any], size_bytes: int) -> Kept:
        """Makes the directory ``path`` what is kept under ``key``, held for this process."""
        id = random_name(8)
        final = os.path.join(self.directory, id)
        with self._database.transaction() as change:
            os.rename(path, final)
            self._leases.hold(change, LEASE_PREFIX + id)
            change.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, id, kind, shown, encode(dict(facts)).decode(), size_bytes, now := time.time()),
            )
        return Kept(key, id, kind, shown, facts, size_bytes, now, final)

    def note(self, kept: Kept, facts: Mapping[str, Any], size_bytes: int) -> None:
        """New facts about what is kept."""
        with self._database.transaction() as change:
            change.execute(
                "UPDATE sources SET facts = ?, size_bytes = ? WHERE id = ?",
                (encode(dict(facts)).decode(), size_bytes, kept.id),
            )

    def lock(self, key: str) -> FileLock:
        """Held while ``key`` is fetched, so that it is fetched once; ends with its process."""
        directory = os.path.join(self.directory, "locks")
        os.makedirs(directory, 0o700, exist_ok=True)
        return FileLock(os.path.join(directory, f"{int(key[:8], 16) % _LOCKS:02x}"))

    def all(self) -> list[Kept]:
        """The latest used first."""
        return self._rows(self._database, "ORDER BY used DESC", ())

    def forget(self, keys: Sequence[str] | None = None) -> int:
        """Forgets what is kept under ``keys`` (None: all); returns its bytes. The collector removes the directories."""
        with self._database.transaction() as change:
            rows = [row for row in self._rows(change, "", ()) if keys is None or row.key in keys]
            self.forget_within(change, [row.key for row in rows])
        return sum(row.size_bytes for row in rows)

    @staticmethod
    def forget_within(change: Transaction, keys: Sequence[str]) -> None:
        """``forget`` as part of a larger transaction."""
        change.execute_many("DELETE FROM sources WHERE key = ?", [(key,) for key in keys])

    def orphans(self, change: Transaction) -> list[str]:
        """Directories that no row and no living process needs, and what dead processes were filling.

        For the collector, after it buried the dead leases; within the transaction nobody commits another.
        """
        known = {row[0] for row in change.rows("SELECT id FROM sources")}
        held = change.rows("SELECT key FROM lease_items WHERE key LIKE ?", (LEASE_PREFIX + "%",))
        known.update(row[0][len(LEASE_PREFIX) :] for row in held)
        found = [
            os.path.join(self.directory, name)
            for name in _names(self.directory)
            if name not in known and name not in ("ingest", "locks")
        ]
        ingest = os.path.join(self.directory, "ingest")
        found += [
            os.path.join(ingest, name) for name in _names(ingest) if not self._leases.is_alive(name.partition(".")[0])
        ]
        return found

    def _rows(self, place: Database | Transaction, clause: str, parameters: Sequence[str]) -> list[Kept]:
        rows = place.rows(f"SELECT key, id, kind, shown, facts, size_bytes, used FROM sources {clause}", parameters)
        return [
            Kept(
                row[0], row[1], row[2], row[3], json.loads(row[4]), row[5], row[6], os.path.join(self.directory, row[1])
            )
            for row in rows
        ]


class Ingest:
    """A directory that is being filled. What its block raises as OSError comes out as what it means."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> str:
        try:
            os.makedirs(self._path, 0o700)
        except OSError as error:
            raise from_os_error(error, "store what was fetched")
        return self._path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        remove_tree(self._path)
        if isinstance(error, OSError):
            raise from_os_error(error, "store what was fetched")


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
