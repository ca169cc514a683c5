"""Volumes: create, list, inspect, rename, relabel, remove, prune; what copies their files stands beside."""

from __future__ import annotations

import time

from cais.engine.stores import Stores
from cais.errors import Conflict, Invalid, NotFound
from cais.spec.named import NamedTuple
from cais.volume.records import CACHE, LOCAL, Volume
from cais.volume.snapshots import VolumeSnapshot, VolumeSnapshots, split
from cais.volume.store import VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, BinaryIO

    from cais.engine.volume_files import VolumeFiles

    ListOfVolumes = list[Volume]
    ListOfSnapshots = list[VolumeSnapshot]
    Names = list[str]
    Findings = list[tuple[str, str, str]]

__all__ = ["PruneReport", "Volume", "Volumes"]

_LIST_KEYS = frozenset(("dangling", "driver", "kind", "label", "name"))
_PRUNE_KEYS = frozenset(("all", "kind", "label", "label!"))
_KINDS = (LOCAL, CACHE)


class PruneReport(NamedTuple):
    """``removed``: names."""

    removed: list[str]
    reclaimed_bytes: int


class Volumes:
    """The volumes of one root directory."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._store = VolumeStore(stores.root, stores.database)

    def create(
        self,
        name: str = "",
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """A new volume, or the one with this name; without a name an anonymous one. Raises Invalid, Unsupported."""
        self._enter()
        now = time.time()
        volume = self._store.create(name, driver=driver, options=options, labels=labels)
        if volume.created >= now:
            self._note("create", volume.name)
        return volume

    def get(self, name: str) -> Volume:
        """Raises NotFound."""
        return self._store.get(name)

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> ListOfVolumes:
        """Ordered by name. Filters: ``dangling``, ``driver``, ``kind``, ``label``, ``name``. Raises Invalid.

        What a RUN keeps between builds (kind cache) is never dangling.
        """
        filters = dict(filters or {})
        _check_keys(filters, _LIST_KEYS)
        found = self._store.all()
        if "dangling" in filters:
            wanted = _truth(filters["dangling"][-1], "dangling")
            used = {row[0] for row in self._stores.database.rows("SELECT DISTINCT volume FROM container_volumes")}
            found = [volume for volume in found if (volume.kind == LOCAL and volume.name not in used) == wanted]
        if "driver" in filters:
            found = [volume for volume in found if volume.kind in filters["driver"]]
        if "kind" in filters:
            kinds = _kinds(filters["kind"])
            found = [volume for volume in found if volume.kind in kinds]
        if "name" in filters:
            from cais.spec.name_filter import matches

            found = [volume for volume in found if any(matches(text, volume.name) for text in filters["name"])]
        for text in filters.get("label", ()):
            found = [volume for volume in found if _has_label(volume, text)]
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's JSON; of a cache also its kind, the id that RUN knows it by, and its last use. Raises NotFound.

        Of ``VOLUME@SNAPSHOT``, what there is to know of a snapshot.
        """
        from cais.spec import timestamp

        name, snapshot = split(name)
        volume = self._store.get(name)
        if snapshot:
            found = VolumeSnapshots(self._store).get(name, snapshot)
            return {
                "CreatedAt": timestamp.format(int(found.created)),
                "Mountpoint": found.path,
                "Name": f"{name}@{snapshot}",
                "Size": found.size_bytes,
                "Volume": name,
            }
        more: dict[str, Any] = {}
        if volume.kind == CACHE:
            used = timestamp.format(int(volume.last_used)) if volume.last_used else None
            more = {"Kind": CACHE, "CacheID": volume.cache_id, "LastUsedAt": used, "InUse": self._store.in_use(volume)}
        return {
            "CreatedAt": timestamp.format(int(volume.created)),
            "Driver": volume.kind,
            "Labels": dict(sorted(volume.labels.items())) or None,
            "Mountpoint": volume.path,
            "Name": volume.name,
            "Options": dict(sorted(volume.options.items())) or None,
            "Scope": "local",
            **more,
        }

    def size_bytes(self, volume: Volume) -> int:
        """What its files take, as remembered where nobody used it since (``volume.sizes``); UNKNOWN for a mount."""
        from cais.volume.sizes import size_of

        self._enter()
        return size_of(self._store, volume, running=bool(self._running(volume.name)))

    def links(self, name: str) -> int:
        """How many containers have it."""
        return len(self._users(name))

    def snapshots(self) -> ListOfSnapshots:
        """All snapshots, by volume, the oldest first."""
        return VolumeSnapshots(self._store).all()

    def rename(self, name: str, new: str) -> None:
        """Containers that have it go on with it under its new name. Raises NotFound, Invalid, Conflict (the name)."""
        from cais.container.records import ContainerRecords

        volume = self._store.get(name)
        if volume.kind != LOCAL:
            raise Invalid(f"rename {name}: it is a cache mount of builds, which find it by its name")
        records = ContainerRecords(self._stores.database)
        with self._stores.database.transaction() as change:
            self._store.rename(change, volume, new)
            records.rename_volume(change, name, new)

    def relabel(self, name: str, labels: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Adds labels, and takes those named by ``remove`` away. Raises NotFound."""
        self._store.relabel(name, labels, remove)

    def clone(self, source: str, name: str, labels: Mapping[str, str] | None, warn: Callable[[str], None]) -> Volume:
        """A new volume with the files of ``VOLUME[@SNAPSHOT]``. Raises NotFound, Invalid, Conflict (the name)."""
        from cais.engine.volume_copies import clone

        return clone(self._stores, self._store, source, name, labels, warn)

    def snapshot(self, name: str, snapshot: str, warn: Callable[[str], None]) -> VolumeSnapshot:
        """Keeps the files of a volume as they are now. Raises NotFound, Invalid, Conflict (the name)."""
        from cais.engine.volume_copies import take

        return take(self._stores, self._store, name, snapshot, warn)

    def restore(self, name: str, snapshot: str) -> None:
        """The files of a snapshot take the place of the volume's. Raises NotFound, Conflict (a container runs)."""
        from cais.engine.volume_copies import restore

        restore(self._stores, self._store, name, snapshot, lambda: self._running(name))

    @property
    def files(self) -> VolumeFiles:
        """Their files: copied in and out."""
        from cais.engine.volume_files import VolumeFiles

        return VolumeFiles(self._stores, self._store)

    def export(self, name: str, file: BinaryIO, compression: str = "") -> None:
        """Writes a tar of the files of ``VOLUME[@SNAPSHOT]``; ``compression``: "", "gzip" or "zstd".

        Raises NotFound, Conflict (a build has locked it).
        """
        from cais.engine.volume_archives import export

        export(self._stores, self._store, name, file, compression)

    def import_(self, name: str, file: BinaryIO) -> Volume:
        """The files of a tar in place of its own; a new volume where there is none. Raises Invalid, Corrupt, ..."""
        from cais.engine.volume_archives import import_

        return import_(self._stores, self._store, name, file, lambda: self._running(name))

    def remove(self, name: str, force: bool = False) -> None:
        """Removes it, or a snapshot (``VOLUME@SNAPSHOT``), with its files. ``force``: missing is no error.

        Raises NotFound, Conflict.
        """
        self._enter()
        try:
            volume, snapshot = split(name)
            if snapshot:
                VolumeSnapshots(self._store).remove(volume, snapshot)
            else:
                self._store.remove(name, lambda: self._users(name))
                self._note("destroy", name)
        except NotFound:
            if not force:
                raise

    def prune(self, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> PruneReport:
        """Removes anonymous volumes that no container has; with ``all`` named ones, too. One with snapshots stays.

        What a RUN keeps between builds goes only where ``kind=cache`` is asked for, and not while a build uses it.
        """
        filters = dict(filters or {})
        _check_keys(filters, _PRUNE_KEYS)
        if all and filters.get("all"):
            raise Invalid(f"conflicting options: cannot specify both --all and --filter all={filters['all'][0]}")
        everything = all or any(_truth(text, "all") for text in filters.get("all", ()))
        kinds = _kinds(filters.get("kind", (LOCAL,)))
        self._enter()
        removed: Names = []
        size = 0
        for volume in self._store.all():
            if volume.kind not in kinds or self._users(volume.name):
                continue
            if volume.kind == LOCAL and not (everything or volume.anonymous):
                continue
            if any(not _has_label(volume, text) for text in filters.get("label", ())):
                continue
            if any(_has_label(volume, text) for text in filters.get("label!", ())):
                continue
            taken = self.size_bytes(volume)
            try:
                self._store.remove(volume.name, lambda name=volume.name: self._users(name))  # type: ignore[misc]
            except (NotFound, Conflict):
                continue
            self._note("destroy", volume.name)
            removed.append(volume.name)
            size += max(0, taken)
        self._stores.events.write("volume", "prune", "", {"reclaimed": str(size)})
        return PruneReport(removed, size)

    def check(self, repair: bool = False) -> Findings:
        """What is wrong with volumes: (subject, problem, what was done)."""
        import os

        findings: list[tuple[str, str, str]] = []
        for volume in self._store.all():
            if not os.path.isdir(volume.path):
                mended = ""
                if repair:
                    self._enter()
                    os.makedirs(volume.path, 0o755, exist_ok=True)
                    mended = "made again, empty"
                findings.append((f"volume {volume.name}", "its directory is not there", mended))
        snapshots = VolumeSnapshots(self._store)
        for snapshot in snapshots.all():
            if not os.path.isdir(snapshot.path):
                if repair:
                    snapshots.remove(snapshot.volume, snapshot.name)
                name = f"snapshot {snapshot.volume}@{snapshot.name}"
                findings.append((name, "its directory is not there", "forgotten" if repair else ""))
        lost = "SELECT DISTINCT volume FROM container_volumes WHERE volume NOT IN (SELECT name FROM volumes)"
        for (name,) in self._stores.database.rows(lost):
            if repair:
                self._enter()
                self._store.create(name)
            findings.append((f"volume {name}", "a container has it, and it is not there", "made again, empty" * repair))
        if repair:
            self._enter()
            self._store.sweep()
        return findings

    def _users(self, name: str) -> Names:
        rows = self._stores.database.rows("SELECT container FROM container_volumes WHERE volume = ?", (name,))
        return [row[0] for row in rows]

    def _running(self, name: str) -> Names:
        """The ids of the containers that have it and run."""
        rows = self._stores.database.rows(
            "SELECT id FROM containers JOIN container_volumes ON container = id WHERE volume = ? AND running", (name,)
        )
        return [row[0] for row in rows]

    def _note(self, action: str, name: str) -> None:
        self._stores.events.write("volume", action, name, {"driver": "local"})

    def _enter(self) -> None:
        # Nothing is mounted: an ordinary user's namespace is for the ids of the files alone.
        self._stores.snapshots.reach()


def _check_keys(filters: Mapping[str, Sequence[str]], keys: frozenset[str]) -> None:
    for key in filters:
        if key not in keys:
            raise Invalid(f"invalid filter '{key}'")


def _kinds(texts: Sequence[str]) -> frozenset[str]:
    for text in texts:
        if text not in _KINDS:
            raise Invalid(f"invalid filter 'kind={text}'", hint=f"The kinds are {' and '.join(_KINDS)}.")
    return frozenset(texts)


def _truth(text: str, key: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise Invalid(f"invalid filter '{key}=[{text}]'")


def _has_label(volume: Volume, text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in volume.labels and (not equals or volume.labels[key] == value)
