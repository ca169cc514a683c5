"""Volumes: create, list, inspect, remove, prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.engine.stores import Stores
from cais.errors import CaisError, Conflict, Invalid, NotFound
from cais.spec.named import NamedTuple
from cais.volume.store import Volume, VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    ListOfVolumes = list[Volume]
    Names = list[str]
    Findings = list[tuple[str, str, str]]

_LIST_KEYS = frozenset(("dangling", "driver", "label", "name"))
_PRUNE_KEYS = frozenset(("label", "label!", "all"))


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
        return self._store.create(name, driver=driver, options=options, labels=labels)

    def get(self, name: str) -> Volume:
        """Raises NotFound."""
        return self._store.get(name)

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> ListOfVolumes:
        """Ordered by name. Filters: ``dangling``, ``driver``, ``label``, ``name``. Raises Invalid."""
        filters = dict(filters or {})
        _check_keys(filters, _LIST_KEYS)
        found = self._store.all()
        if "dangling" in filters:
            wanted = _truth(filters["dangling"][-1], "dangling")
            used = {row[0] for row in self._stores.database.rows("SELECT DISTINCT volume FROM container_volumes")}
            found = [volume for volume in found if (volume.name not in used) == wanted]
        if "driver" in filters and "local" not in filters["driver"]:
            found = []
        if "name" in filters:
            found = [volume for volume in found if any(text in volume.name for text in filters["name"])]
        for text in filters.get("label", ()):
            found = [volume for volume in found if _has_label(volume, text)]
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's JSON. Raises NotFound."""
        from cais.spec import timestamp

        volume = self._store.get(name)
        return {
            "CreatedAt": timestamp.format(int(volume.created)),
            "Driver": "local",
            "Labels": dict(volume.labels) or None,
            "Mountpoint": volume.path,
            "Name": volume.name,
            "Options": dict(volume.options) or None,
            "Scope": "local",
        }

    def remove(self, name: str, force: bool = False) -> None:
        """Removes it with its files. ``force``: one that is not there is no error. Raises NotFound, Conflict."""
        self._enter()
        try:
            self._store.remove(name, self._users(name))
        except NotFound:
            if not force:
                raise

    def prune(self, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> PruneReport:
        """Removes anonymous volumes that no container has; with ``all`` named ones, too."""
        from cais.host.files import tree_size_bytes

        filters = dict(filters or {})
        _check_keys(filters, _PRUNE_KEYS)
        everything = all or any(_truth(text, "all") for text in filters.get("all", ()))
        self._enter()
        removed: Names = []
        size = 0
        for volume in self._store.all():
            if self._users(volume.name) or not (everything or volume.anonymous):
                continue
            if any(not _has_label(volume, text) for text in filters.get("label", ())):
                continue
            if any(_has_label(volume, text) for text in filters.get("label!", ())):
                continue
            taken = tree_size_bytes(volume.path)
            try:
                self._store.remove(volume.name, self._users(volume.name))
            except (NotFound, Conflict):
                continue
            removed.append(volume.name)
            size += taken
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
        if repair:
            from cais.host.files import remove_tree

            self._enter()
            for path in self._store.orphans():
                try:
                    remove_tree(path)
                except (OSError, CaisError):
                    continue
        return findings

    def _users(self, name: str) -> Names:
        rows = self._stores.database.rows("SELECT container FROM container_volumes WHERE volume = ?", (name,))
        return [row[0] for row in rows]

    def _enter(self) -> None:
        # Nothing is mounted: an ordinary user's namespace is for the ids of the files alone.
        self._stores.snapshots.reach()


def _check_keys(filters: Mapping[str, Sequence[str]], keys: frozenset[str]) -> None:
    for key in filters:
        if key not in keys:
            raise Invalid(f"invalid filter '{key}'")


def _truth(text: str, key: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise Invalid(f"invalid filter '{key}={text}'")


def _has_label(volume: Volume, text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in volume.labels and (not equals or volume.labels[key] == value)
