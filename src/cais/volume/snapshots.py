"""Snapshots: the files of a volume as they were, kept under names beside it. ``VOLUME@SNAPSHOT`` names one.

A snapshot is a directory like that of a volume; where the file system shares blocks (XFS, Btrfs) it takes no space of
its own until something changes.
"""

from __future__ import annotations

import os
import time

from cais.errors import Conflict, NotFound, from_os_error
from cais.host.files import remove_tree, tree_size_bytes
from cais.spec.named import NamedTuple
from cais.volume.records import check_name
from cais.volume.store import VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COLUMNS = "SELECT volume, name, id, created, size_bytes FROM volume_snapshots"


class VolumeSnapshot(NamedTuple):
    """``path`` is the directory with its files; ``created`` in seconds since 1970."""

    volume: str
    name: str
    path: str
    created: float
    size_bytes: int


def split(name: str) -> tuple[str, str]:
    """``VOLUME[@SNAPSHOT]`` as its parts; the second is "" for a volume."""
    volume, _, snapshot = name.partition("@")
    return volume, snapshot


class VolumeSnapshots:
    """Snapshots of volumes, by the volume's name and their own. Each is whole before there is a record of it."""

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._database = store.database

    def take(self, volume: str, name: str, fill: Callable[[str], None]) -> VolumeSnapshot:
        """Keeps what ``fill(directory)`` makes as a snapshot; called by the time without one. Raises Conflict."""
        name = name or time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        if len(name) != 1 or not name.isalnum():
            check_name(name)
        taken = Conflict(f"snapshot {volume}: there is a snapshot {name} of it", hint="Give it another name.")
        if self._find(volume, name):
            raise taken
        id, lock = self._store.stage(volume, fill)
        path = os.path.join(self._store.directory, id)
        with lock:
            size = tree_size_bytes(os.path.join(path, "data"))
            with self._database.transaction() as change:
                added = change.execute(
                    "INSERT OR IGNORE INTO volume_snapshots (volume, name, id, created, size_bytes)"
                    " SELECT name, ?, ?, ?, ? FROM volumes WHERE name = ?",
                    (name, id, time.time(), size, volume),
                )
        if not added:
            remove_tree(path)
            self._store.get(volume)
            raise taken
        return self.get(volume, name)

    def get(self, volume: str, name: str) -> VolumeSnapshot:
        """Raises NotFound."""
        self._store.get(volume)
        found = self._find(volume, name)
        if not found:
            raise NotFound(f"get {volume}@{name}: no such snapshot")
        return found[0]

    def all(self) -> list[VolumeSnapshot]:
        """By volume, the oldest first."""
        return self._query(" ORDER BY volume, created")

    def remove(self, volume: str, name: str) -> None:
        """Raises NotFound."""
        found = self.get(volume, name)
        with self._database.transaction() as change:
            change.execute("DELETE FROM volume_snapshots WHERE volume = ? AND name = ?", (volume, name))
        try:
            self._store.discard(os.path.dirname(found.path))
        except OSError as error:
            raise from_os_error(error, f"remove the snapshot {volume}@{name}")

    def _find(self, volume: str, name: str) -> list[VolumeSnapshot]:
        return self._query(" WHERE volume = ? AND name = ?", (volume, name))

    def _query(self, clause: str, parameters: Sequence[str] = ()) -> list[VolumeSnapshot]:
        return [
            VolumeSnapshot(row[0], row[1], os.path.join(self._store.directory, row[2], "data"), row[3], row[4])
            for row in self._database.rows(_COLUMNS + clause, parameters)
        ]
