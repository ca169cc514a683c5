"""Copies of volumes: clones, snapshots, and a snapshot put back. Each is complete before anybody sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cais.engine.stores import Stores
from cais.engine.volume_archives import check_plain, opened
from cais.errors import from_os_error
from cais.volume.records import Volume
from cais.volume.snapshots import VolumeSnapshot, VolumeSnapshots, split
from cais.volume.store import VolumeStore


def clone(
    stores: Stores,
    store: VolumeStore,
    source: str,
    name: str,
    labels: Mapping[str, str] | None,
    warn: Callable[[str], None],
) -> Volume:
    """A new volume with the files of ``VOLUME[@SNAPSHOT]``, and its labels and options. Raises Conflict, ..."""
    volume = store.get(split(source)[0])
    check_plain(store, volume.name, "clone")
    with _standing(stores, "" if "@" in source else volume.name, warn):
        fill = _copy_of(stores, store, source)
        return store.clone(volume, name, fill, volume.labels if labels is None else labels)


def take(stores: Stores, store: VolumeStore, name: str, snapshot: str, warn: Callable[[str], None]) -> VolumeSnapshot:
    """Keeps the files of a volume as they are now, under a name. Raises Conflict, NotFound, Invalid."""
    store.get(name)
    check_plain(store, name, "snapshot")
    with _standing(stores, name, warn):
        return VolumeSnapshots(store).take(name, snapshot, _copy_of(stores, store, name))


def restore(stores: Stores, store: VolumeStore, name: str, snapshot: str, users: Callable[[], Sequence[str]]) -> None:
    """The files of a snapshot take the place of the volume's, at once. Raises Conflict while a container runs."""
    fill = _copy_of(stores, store, f"{name}@{snapshot}")
    store.replace(name, fill, doing="restore", users=users)


def _copy_of(stores: Stores, store: VolumeStore, source: str) -> Callable[[str], None]:
    from cais.host.copying import copy_tree

    path = opened(stores, store, source)

    def fill(directory: str) -> None:
        try:
            copy_tree(path, directory)
        except OSError as error:
            raise from_os_error(error, f"copy the volume {source}")

    return fill


class _Nothing:
    def __enter__(self) -> None:
        """Nobody has the volume."""

    def __exit__(self, *_: object) -> None:
        """Nobody was paused."""


def _standing(stores: Stores, name: str, warn: Callable[[str], None]) -> _Standing | _Nothing:
    rows = stores.database.rows(
        "SELECT id FROM containers JOIN container_volumes ON container = id WHERE volume = ? AND running", (name,)
    )
    return _Standing(stores, [row[0] for row in rows], warn) if rows else _Nothing()


class _Standing:
    """The containers that write to the volume stand still; a warning for each that cannot be made to."""

    def __init__(self, stores: Stores, ids: Sequence[str], warn: Callable[[str], None]) -> None:
        from cais.engine.standstill import Standstill
        from cais.runtime.runner import Runtime

        # Before any path is opened: who is paused is paused from inside this process's namespaces.
        stores.snapshots.reach()
        self._still = Standstill(Runtime(stores.root, stores.settings.runtime), ids)
        self._warn = warn

    def __enter__(self) -> None:
        for id in self._still.__enter__():
            self._warn(f"WARNING: container {id[:12]} could not be paused: files that it writes now may be copied half")

    def __exit__(self, *_: object) -> None:
        self._still.__exit__()
