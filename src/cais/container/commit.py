"""Commit: what a container changed, as a layer of its own; the container goes on as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cais.container.prepare import Rooms, container_directory, read_stubs
from cais.container.records import ContainerRecord
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.snapshot.changes import Change
    from cais.snapshot.store import Layer


def commit_layer(rooms: Rooms, record: ContainerRecord) -> Layer:
    """A committed snapshot of the container's changes, without the mount points that were made for it.

    The changes are packed twice: once for their digest, once to be applied to the new snapshot, which verifies it; so a
    file that changes in between is noticed. Raises Conflict or Corrupt then, and Unavailable (no space).
    """
    from cais.snapshot.pack import measure, pack

    parent = Digest(record.chain) if record.chain else None
    prepared = rooms.snapshots.reopen(record.snapshot, parent)
    below = rooms.snapshots.directories(parent)
    stubs = read_stubs(container_directory(rooms, record.id))
    root = os.path.join(prepared.directory, "fs")

    def changes() -> Iterator[Change]:
        found = rooms.snapshots.driver.changes(prepared.directory, below)
        return without_stubs(found, stubs, root)

    diff_id, _ = measure(changes(), root)
    return rooms.snapshots.unpack(parent, diff_id, pack(changes(), root))


def without_stubs(changes: Iterator[Change], stubs: frozenset[str], root: str) -> Iterator[Change]:
    """Leaves out mount points that nobody has filled."""
    names = {os.fsencode(path.strip("/")) for path in stubs}
    for change in changes:
        path = change.path.strip(b"/")
        if path in names and change.status is not None and _is_stub(os.fsencode(root), path, names):
            continue
        yield change


def _is_stub(root: bytes, path: bytes, names: set[bytes]) -> bool:
    """Whether there is nothing at ``path`` but stubs."""
    full = os.path.join(root, path)
    if os.path.islink(full) or not os.path.isdir(full):
        return not os.path.islink(full) and os.path.getsize(full) == 0
    return all(path + b"/" + name in names and _is_stub(root, path + b"/" + name, names) for name in os.listdir(full))
