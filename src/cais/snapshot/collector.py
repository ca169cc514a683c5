"""What the collector does to snapshots: rows first, in one transaction; directories without a row in another."""

from __future__ import annotations

import os

from cais.host.database import Transaction
from cais.host.leases import Leases
from cais.snapshot.store import SnapshotStore
from cais.spec.digest import Digest

EDGES = "SELECT 'chain:' || chain_id, 'chain:' || parent FROM snapshots WHERE chain_id NOTNULL AND parent NOTNULL"


def forget_snapshots(change: Transaction, leases: Leases) -> list[tuple[Digest, int]]:
    """Within the collector's marking transaction: forgets what is not live, and what dead processes prepared.

    ``live`` holds the ids of prepared snapshots that containers keep as ``snapshot:<id>``. Files that another row has
    stay with that, and count as nothing; nor do those that are in a blob, which is counted itself.
    """
    rows = change.rows(
        """SELECT id, chain_id, iif(packed NOTNULL, 0, size_bytes), lease, coalesce(files, id) FROM snapshots
           WHERE 'chain:' || chain_id NOT IN (SELECT key FROM live)
              OR (chain_id IS NULL AND 'snapshot:' || id NOT IN (SELECT key FROM live))"""
    )
    gone = [row for row in rows if row[1] is not None or not leases.is_alive(row[3])]
    change.execute_many("DELETE FROM snapshots WHERE id = ?", [(row[0],) for row in gone])
    left = {row[0] for row in change.rows("SELECT coalesce(files, id) FROM snapshots")} if gone else set()
    forgotten = []
    for _, chain, size_bytes, _, directory in gone:
        if chain is not None:
            forgotten.append((Digest(chain), 0 if directory in left else int(size_bytes)))
            left.add(directory)
    return forgotten


def set_aside_orphans(change: Transaction, store: SnapshotStore, leases: Leases) -> list[str]:
    """Within a second transaction: renames directories without a row; returns their new paths, to be removed after."""
    try:
        names = os.listdir(store.directory)
    except FileNotFoundError:
        return []
    known = {row[0] for row in change.rows("SELECT coalesce(files, id) FROM snapshots")}
    aside = []
    for name in names:
        path = os.path.join(store.directory, name)
        if name.startswith("gone."):
            aside.append(path)
        elif name not in known and not _is_probe(name, leases):
            new = os.path.join(store.directory, f"gone.{name}")
            os.rename(path, new)
            aside.append(new)
    return aside


def _is_probe(name: str, leases: Leases) -> bool:
    """Whether a directory is where a living process tries drivers."""
    kind, _, lease = name.partition(".")
    return kind == "probe" and leases.is_alive(lease)
