"""The file system of a container as one tar archive: its own, without what is mounted in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cais.container.commit import without_stubs
from cais.container.prepare import Rooms, container_directory, read_stubs
from cais.container.records import ContainerRecord
from cais.spec.digest import Digest


def export(rooms: Rooms, record: ContainerRecord) -> Iterator[bytes]:
    """In pieces; the same files give the same bytes. One that runs goes on; what it writes meanwhile may be there or
    not. Mount points that were made for it are left out. Enter the private namespaces before. Raises NotFound."""
    from cais.host import mounts
    from cais.snapshot.changes import tree_in_use
    from cais.snapshot.pack import pack

    parent = Digest(record.chain) if record.chain else None
    prepared = rooms.snapshots.reopen(record.snapshot, parent)
    directory = container_directory(rooms, record.id)
    place = os.path.join(directory, "export")
    os.makedirs(place, 0o700, exist_ok=True)
    # Read-only, and beside the mount that a running container has: only one may write to a layer.
    below = rooms.snapshots.directories(parent)
    mounts.realise(rooms.snapshots.driver.view([prepared.directory, *below]), place)
    try:
        everything = without_stubs(tree_in_use(place), read_stubs(directory), place)
        yield from pack((change for change in everything if change.path), place, plain=True, moving=True)
    finally:
        mounts.unmount(place)
