"""Volumes as tar archives: to another machine, or to where a CI system keeps things between its runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from cais.engine.stores import Stores
from cais.errors import Conflict, Invalid, Unsupported, from_os_error
from cais.host.locks import FileLock
from cais.host.owners import give
from cais.volume.caches import is_cache_name
from cais.volume.options import is_mount
from cais.volume.records import CACHE, LOCAL, Volume
from cais.volume.snapshots import VolumeSnapshots, split
from cais.volume.store import VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from cais.host.tar_writer import TarEntry
    from cais.snapshot.changes import Change

_PIECE_BYTES = 1 << 20


def export(stores: Stores, store: VolumeStore, name: str, file: BinaryIO, compression: str = "") -> None:
    """Writes the files of ``VOLUME[@SNAPSHOT]`` with owners, modes and times. Raises NotFound, Conflict (a build has
    locked it)."""
    from cais.snapshot.pack import pack

    volume = store.get(split(name)[0])
    path = opened(stores, store, name)
    lock = FileLock(store.lock_path(volume))
    try:
        if not lock.acquire(shared=True, blocking=False):
            raise Conflict(f"export {name}: volume is in use by a build", hint="Wait for the build that has locked it.")
        owners = stores.snapshots.owners
        pieces = pack(_all(path), path, owners=owners, prefix=b"./", plain=True)
        if compression:
            from cais.host.compression import compressed

            pieces = compressed(pieces, compression)
        for piece in pieces:
            file.write(piece)
        file.flush()
    except OSError as error:
        raise from_os_error(error, f"export the volume {name}")
    finally:
        lock.release()


def opened(stores: Stores, store: VolumeStore, name: str) -> str:
    """The directory of ``VOLUME[@SNAPSHOT]``; what is mounted for the volume is mounted. Raises NotFound, Unavailable.

    In this process's own namespaces.
    """
    volume, snapshot = split(name)
    stores.snapshots.reach()
    if snapshot:
        return VolumeSnapshots(store).get(volume, snapshot).path
    found = store.get(volume)
    if is_mount(found.options):
        from cais.host.namespaces import enter
        from cais.volume.mounting import mount

        enter()
        mount(found)
    return found.path


def _all(path: str) -> Iterator[Change]:
    """The directory itself and all that is in it."""
    from cais.snapshot.changes import Change, tree_changes

    yield Change(b"", "directory", os.stat(path))
    yield from tree_changes(None, path)


def import_(
    stores: Stores, store: VolumeStore, name: str, file: BinaryIO, users: Callable[[], Sequence[str]]
) -> Volume:
    """The files of a tar, compressed or not, take the place of those of a volume; a new one is made where there is
    none. One that is called as a cache of a RUN is one. Nothing changes where the archive is broken.

    Raises Invalid, Corrupt, Conflict (a build or one of ``users`` uses it), Unavailable.
    """
    from cais.host.compression import decompressed
    from cais.snapshot.apply import apply

    stores.snapshots.reach()

    owners = stores.snapshots.owners

    def fill(path: str) -> None:
        own: list[TarEntry] = []

        def change(entry: TarEntry) -> TarEntry | None:
            if entry.name.strip(b"/") not in (b"", b"."):
                return entry
            own.append(entry)  # of the directory itself
            return None

        applied = apply(decompressed(_pieces(file), "auto"), path, style="plain", owners=owners, change_entry=change)
        if not applied.size_bytes:
            raise Invalid(f"import {name}: the archive is empty")
        for entry in own[-1:]:
            if owners:
                give(path, entry.uid, entry.gid)
            os.chmod(path, entry.mode & 0o7777)

    check_plain(store, name, "import")
    return store.replace(name, fill, kind=CACHE if is_cache_name(name) else LOCAL, users=users)


def check_plain(store: VolumeStore, name: str, doing: str) -> None:
    """Raises Unsupported for a volume whose files are elsewhere: they cannot be exchanged at once."""
    for volume in store.all():
        if volume.name == name and is_mount(volume.options):
            raise Unsupported(
                f"{doing} {name}: its files are in a file system of type {volume.options['type']}, mounted from "
                f"{volume.options['device']}",
                hint="Copy into it instead: cais volume cp",
            )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece
