"""Leases: what a process holds on to while it works. A lease dies with its process.

A lease is a file under ``leases/`` that its process keeps locked, and rows that name what it holds. A lease whose file
can be locked by another has no process any more.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from cais.host.database import Database, Transaction
from cais.host.files import random_name
from cais.host.locks import FileLock

SCHEMA = (
    """CREATE TABLE lease_items (
        lease TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (lease, key)
    ) WITHOUT ROWID""",
)


class Leases:
    """The leases of one root directory. Each object has at most one lease of its own, taken when first needed."""

    def __init__(self, root: str, database: Database) -> None:
        self._directory = os.path.join(root, "leases")
        self._database = database
        self._lock: FileLock | None = None
        self._id = ""
        self._guard = allocate_lock()

    @property
    def id(self) -> str:
        """This process's lease."""
        with self._guard:
            if not self._id:
                self._database.require_own()
                os.makedirs(self._directory, 0o700, exist_ok=True)
                while True:
                    name = random_name(8)
                    lock = FileLock(os.path.join(self._directory, name))
                    # A collector may take the fresh file for a dead lease's and remove it before it is locked.
                    if lock.acquire(blocking=False) and os.path.exists(lock.path):
                        break
                    lock.release()
                self._lock, self._id = lock, name
            return self._id

    def hold(self, change: Transaction, key: str) -> None:
        """Within the transaction that made or found ``key``: it stays until ``release`` or the process's end."""
        change.execute("INSERT OR IGNORE INTO lease_items VALUES (?, ?)", (self.id, key))

    def release(self) -> None:
        """Lets go of everything: what is not reached from a root is garbage from now on.

        Where the rows cannot be deleted that is raised, and they are a dead lease's.
        """
        # Not with the guard: another thread may need it within a transaction, which this one would wait for.
        with self._guard:
            lock, id = self._lock, self._id
            self._lock, self._id = None, ""
        if lock is None:
            return
        try:
            with self._database.transaction() as change:
                change.execute("DELETE FROM lease_items WHERE lease = ?", (id,))
        finally:
            try:
                os.unlink(lock.path)
            except FileNotFoundError:
                pass
            lock.release()

    def is_alive(self, lease: str) -> bool:
        """Whether the process that took ``lease`` still runs."""
        if lease == self._id:
            return True
        lock = FileLock(os.path.join(self._directory, lease))
        if not os.path.exists(lock.path):
            return False
        if lock.acquire(blocking=False):
            lock.release()
            return False
        return True

    def bury_dead(self, change: Transaction) -> list[str]:
        """Forgets the leases whose process is gone; returns their names. Only the collector calls it."""
        names = {str(row[0]) for row in change.rows("SELECT DISTINCT lease FROM lease_items")}
        if os.path.isdir(self._directory):
            names.update(os.listdir(self._directory))
        dead = []
        for name in sorted(names):
            if name == self._id:
                continue
            # Unlinked while locked: a process that just made the file sees that it lost it, and makes another.
            lock = FileLock(os.path.join(self._directory, name))
            present = os.path.exists(lock.path)
            if present and not lock.acquire(blocking=False):
                continue
            dead.append(name)
            change.execute("DELETE FROM lease_items WHERE lease = ?", (name,))
            if present:
                try:
                    os.unlink(lock.path)
                except FileNotFoundError:
                    pass
                lock.release()
        return dead
