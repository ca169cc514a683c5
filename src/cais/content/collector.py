"""The collector: marks what roots and leases reach, in SQL, and sweeps the rest; safe beside running commands.

One writing transaction marks and forgets (rows). A second one removes what has no row any more (files): whoever stored
the same blob again in between has made a row, so its file stays. Killed between the two, the files that are left are
found by the next collector.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from cais.content.store import ContentStore
from cais.host.database import Transaction
from cais.host.leases import Leases
from cais.host.locks import FileLock

# How long the beginning of a blob waits to be gone on with.
KEPT_SECONDS = 24 * 3600.0


def mark(change: Transaction, leases: Leases, roots: Sequence[str], edges: Sequence[str]) -> list[str]:
    """Fills the temporary table ``live(key)``; returns the names of the leases that were found dead.

    ``roots`` are queries that give keys (what leases hold is reached by itself), ``edges`` queries of (parent, child).
    """
    dead = leases.bury_dead(change)
    change.execute("CREATE TEMP TABLE IF NOT EXISTS live (key TEXT PRIMARY KEY) WITHOUT ROWID")
    change.execute("DELETE FROM live")
    start = " UNION ".join(["SELECT key FROM lease_items", *roots])
    steps = " UNION ALL ".join(["SELECT parent, child FROM edges", *edges])
    change.execute(
        f"""WITH RECURSIVE step(parent, child) AS MATERIALIZED ({steps}), reached(key) AS (
                {start} UNION SELECT step.child FROM step JOIN reached ON step.parent = reached.key
            ) INSERT INTO live SELECT key FROM reached WHERE key IS NOT NULL"""
    )
    return dead


def forget_blobs(change: Transaction) -> list[tuple[str, int]]:
    """Within the marking transaction: forgets the blobs that are not live, and all dead edges.

    Returns their digests and sizes in bytes.
    """
    gone = change.rows("SELECT digest, size_bytes FROM blobs WHERE digest NOT IN (SELECT key FROM live)")
    change.execute("DELETE FROM blobs WHERE digest NOT IN (SELECT key FROM live)")
    change.execute("DELETE FROM edges WHERE parent NOT IN (SELECT key FROM live)")
    return [(str(row[0]), int(row[1])) for row in gone]


def remove_blob_files(change: Transaction, store: ContentStore, leases: Leases) -> int:
    """Within a second transaction: removes files without a row, and what dead processes were writing.

    Returns how many there were.
    """
    removed = 0
    blobs = os.path.join(store.directory, "blobs")
    known = {row[0] for row in change.rows("SELECT digest FROM blobs")}
    for algorithm in _names(blobs):
        for name in _names(os.path.join(blobs, algorithm)):
            if f"{algorithm}:{name}" not in known:
                os.unlink(os.path.join(blobs, algorithm, name))
                removed += 1
    ingest = os.path.join(store.directory, "ingest")
    for name in _names(ingest):
        if not leases.is_alive(name.partition(".")[0]):
            try:
                os.unlink(os.path.join(ingest, name))
                removed += 1
            except FileNotFoundError:
                pass
    return removed + _remove_kept(os.path.join(store.directory, "kept"))


def _remove_kept(directory: str) -> int:
    """The beginnings of blobs that nobody goes on with. What is locked is being written."""
    removed = 0
    oldest = time.time() - KEPT_SECONDS
    for name in _names(directory):
        path = os.path.join(directory, name)
        lock = FileLock(path)
        try:
            if os.stat(path).st_mtime < oldest and lock.acquire(blocking=False):
                os.unlink(path)
                removed += 1
        except FileNotFoundError:
            pass
        finally:
            lock.release()
    return removed


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
