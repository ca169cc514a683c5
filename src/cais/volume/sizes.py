"""What volumes take on disk, remembered: only what was used since it was last measured is walked again.

A use is a container that starts with the volume, a build that mounts it, and what Cais itself writes into it; each is
counted. The count and the time of the last change to the topmost directory are kept with the size. While a container
that has the volume runs, it is measured each time. So a size is exact but for one case: files that somebody changed
through the path on the host (Mountpoint), below the topmost directory; the next use corrects it.
"""

from __future__ import annotations

import os

from cais.errors import CaisError
from cais.host.files import tree_size_bytes
from cais.volume.options import is_mount
from cais.volume.records import Volume
from cais.volume.store import VolumeStore

UNKNOWN = -1


def size_of(store: VolumeStore, volume: Volume, *, running: bool) -> int:
    """In bytes; UNKNOWN for a volume that is mounted from elsewhere. ``running``: a container has it just now."""
    if is_mount(volume.options):
        return UNKNOWN
    row = store.database.row("SELECT uses, measured, size_bytes FROM volumes WHERE name = ?", (volume.name,))
    try:
        now = f"{row[0] if row else 0} {os.stat(volume.path).st_ctime_ns}"
    except OSError:
        return 0
    running = running or store.in_use(volume)
    if row and row[1] == now and not running:
        return int(row[2])
    size = tree_size_bytes(volume.path)
    if row and not running:
        try:
            with store.database.transaction() as change:
                # One that was used meanwhile is not measured.
                change.execute(
                    "UPDATE volumes SET size_bytes = ?, measured = ? WHERE name = ? AND uses = ? AND id = ?",
                    (size, now, volume.name, row[0], os.path.basename(os.path.dirname(volume.path))),
                )
        except CaisError:
            pass  # a root directory that cannot be written can still be read
    return size
