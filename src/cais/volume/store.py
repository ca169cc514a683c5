"""VolumeStore: volumes by name, their records and directories."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence

from cais.errors import Conflict, Invalid, NotFound, Unsupported, from_os_error
from cais.host.database import Database
from cais.host.files import random_name, remove_tree
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

SCHEMA = (
    """CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        anonymous INTEGER NOT NULL,
        created REAL NOT NULL,
        labels TEXT NOT NULL,
        options TEXT NOT NULL
    ) WITHOUT ROWID""",
)

NAME_HINT = 'Use only "[a-zA-Z0-9][a-zA-Z0-9_.-]". For a directory of this host give an absolute path.'
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_NAME_LIMIT = 255


class Volume(NamedTuple):
    """``path`` is the directory with its files; ``created`` is in seconds since 1970."""

    name: str
    path: str
    anonymous: bool
    created: float
    labels: Mapping[str, str]
    options: Mapping[str, str]


def check_name(name: str) -> None:
    """Raises Invalid with Docker's words."""
    if len(name) < 2 and name:
        raise Invalid(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if not name or name[0] not in _FIRST or not _REST.issuperset(name) or len(name) > _NAME_LIMIT:
        raise Invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            f'"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


class VolumeStore:
    def __init__(self, root: str, database: Database) -> None:
        self.directory = os.path.join(root, "volumes")
        self._database = database

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """A new volume, or the one with this name. Without a name it is anonymous. Raises Invalid, Unsupported."""
        if driver not in ("", "local"):
            raise NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        if options:
            raise Unsupported(
                f"the volume option {next(iter(options))!r} is not in this version",
                hint="Volumes are plain directories; mount other file systems on the host and bind them (-v /path:..).",
            )
        if name:
            check_name(name)
            existing = self._find(name)
            if existing is not None:
                return existing
        else:
            name, anonymous = random_name(32), True
        self._database.require_own()
        id = random_name(8)
        path = os.path.join(self.directory, id)
        try:
            os.makedirs(self.directory, 0o711, exist_ok=True)
            os.mkdir(path, 0o711)
            os.mkdir(os.path.join(path, "data"), 0o755)
        except OSError as error:
            raise from_os_error(error, f"create the volume {name}")
        labels = dict(labels or {})
        if anonymous:
            labels.setdefault("com.docker.volume.anonymous", "")
        with self._database.transaction() as change:
            added = change.execute(
                "INSERT OR IGNORE INTO volumes VALUES (?, ?, ?, ?, ?, ?)",
                (name, id, anonymous, time.time(), encode(labels).decode(), encode(dict(options or {})).decode()),
            )
        if not added:
            remove_tree(path)
        return self.get(name)

    def get(self, name: str) -> Volume:
        """Raises NotFound."""
        found = self._find(name)
        if found is None:
            raise NotFound(f"get {name}: no such volume")
        return found

    def all(self) -> list[Volume]:
        """Ordered by name."""
        return self._query("ORDER BY name")

    def remove(self, name: str, users: Sequence[str] = ()) -> None:
        """Removes a volume and its files; ``users`` are the ids of the containers that have it. Raises Conflict."""
        volume = self.get(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        with self._database.transaction() as change:
            change.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
        try:
            remove_tree(os.path.dirname(volume.path))
        except OSError as error:
            raise from_os_error(error, f"remove the volume {name}")

    def orphans(self) -> list[str]:
        """Directories that no record names: what a killed command left."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        known = {row[0] for row in self._database.rows("SELECT id FROM volumes")}
        return [os.path.join(self.directory, name) for name in sorted(names) if name not in known]

    def _find(self, name: str) -> Volume | None:
        found = self._query("WHERE name = ?", (name,))
        return found[0] if found else None

    def _query(self, clause: str, parameters: Sequence[str] = ()) -> list[Volume]:
        rows = self._database.rows(
            f"SELECT name, id, anonymous, created, labels, options FROM volumes {clause}", parameters
        )
        return [
            Volume(
                row[0], os.path.join(self.directory, row[1], "data"), bool(row[2]), row[3],
                json.loads(row[4]), json.loads(row[5]),
            )
            for row in rows
        ]  # fmt: skip
