"""What a container changed in its file system, as Docker lists it."""

from __future__ import annotations

import os
import stat

from cais.container.commit import without_stubs
from cais.container.prepare import Rooms, container_directory, read_stubs
from cais.container.records import ContainerRecord
from cais.host.beneath import Beneath
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.snapshot.changes import Change

ADDED, CHANGED, DELETED = "A", "C", "D"


def diff(rooms: Rooms, record: ContainerRecord) -> list[tuple[str, str]]:
    """``(kind, path)`` in the order of the paths; a directory stands before what is in it.

    The mount points that are made for a container are none of its changes. Enter the private namespaces before: the
    image's file system is mounted for a while. Raises NotFound, Failed.
    """
    from cais.host import mounts

    parent = Digest(record.chain) if record.chain else None
    prepared = rooms.snapshots.reopen(record.snapshot, parent)
    directory = container_directory(rooms, record.id)
    found = rooms.snapshots.driver.changes(prepared.directory, rooms.snapshots.directories(parent))
    changes = without_stubs(found, read_stubs(directory), os.path.join(prepared.directory, "fs"))
    if parent is None:
        return [(ADDED, "/" + os.fsdecode(change.path)) for change in changes]
    place = os.path.join(directory, "image")
    os.makedirs(place, 0o700, exist_ok=True)
    mounts.realise(rooms.snapshots.view(parent), place)
    try:
        with Beneath(place) as image:
            return sorted(_listed(list(changes), image), key=lambda line: line[1].split("/"))
    finally:
        mounts.unmount(place)


def _listed(changes: list[Change], image: Beneath) -> list[tuple[str, str]]:
    lines: dict[bytes, str] = {}
    for path, kind, status, _ in changes:
        directory, _, name = path.rpartition(b"/")
        if kind == "opaque":
            # What is there again replaces its line.
            lines.update(dict.fromkeys(_inside(image, path), DELETED))
            continue
        was = _status(image, directory, name)
        if status is None:
            lines[path] = DELETED
        elif was is None:
            lines[path] = ADDED
        elif _differs(was, status):
            lines[path] = CHANGED
        else:
            lines.pop(path, None)
    for path in list(lines):
        while path := path.rpartition(b"/")[0]:
            lines.setdefault(path, CHANGED)
    return [(kind, "/" + os.fsdecode(path)) for path, kind in lines.items()]


def _inside(image: Beneath, directory: bytes) -> list[bytes]:
    try:
        return [directory + b"/" + os.fsencode(name) for name in os.listdir(image.fd(directory))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _status(image: Beneath, directory: bytes, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=image.fd(directory), follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _differs(was: os.stat_result, status: os.stat_result) -> bool:
    """As Docker compares: the time of a directory says nothing."""
    if (was.st_mode, was.st_uid, was.st_gid, was.st_rdev) != (
        status.st_mode, status.st_uid, status.st_gid, status.st_rdev,
    ):  # fmt: skip
        return True
    return not stat.S_ISDIR(status.st_mode) and (was.st_mtime_ns, was.st_size) != (status.st_mtime_ns, status.st_size)
