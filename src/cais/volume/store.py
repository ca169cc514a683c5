"""VolumeStore: volumes by name, their records and directories."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

from cais.errors import Conflict, Invalid, NotFound, Unsupported, from_os_error
from cais.host.database import Database
from cais.host.files import random_name, remove_tree
from cais.host.locks import FileLock
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
    """ALTER TABLE volumes ADD COLUMN kind TEXT NOT NULL DEFAULT 'local';
    ALTER TABLE volumes ADD COLUMN cache_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE volumes ADD COLUMN last_used REAL NOT NULL DEFAULT 0""",
)

LOCAL, CACHE = "local", "cache"

NAME_HINT = 'Use only "[a-zA-Z0-9][a-zA-Z0-9_.-]". For a directory of this host give an absolute path.'
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_NAME_LIMIT = 255
# As long as nobody takes from making a directory to locking it.
_NEW_SECONDS = 60.0


class Volume(NamedTuple):
    """``path`` is the directory with its files; times are in seconds since 1970, 0 where they are not known.

    ``kind`` is ``local``, or ``cache`` for what RUN keeps under ``cache_id`` (``volume.caches``).
    """

    name: str
    path: str
    anonymous: bool
    created: float
    labels: Mapping[str, str]
    options: Mapping[str, str]
    kind: str = LOCAL
    cache_id: str = ""
    last_used: float = 0


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
        labels = dict(labels or {})
        if anonymous:
            labels.setdefault("com.docker.volume.anonymous", "")
        self._add(Volume(name, "", anonymous, time.time(), labels, dict(options or {})), lambda path: None)
        return self.get(name)

    def cache(self, name: str, cache_id: str, begin: Callable[[str], None]) -> Volume:
        """The cache called ``name``; a new one is made whole by ``begin(directory)`` before anybody sees it."""
        found = self._find(name)
        if found is None:
            self._add(Volume(name, "", False, time.time(), {}, {}, CACHE, cache_id, time.time()), begin)
            return self.get(name)
        if (found.kind, found.cache_id) != (CACHE, cache_id):
            # One that was imported does not know its id.
            with self._database.transaction() as change:
                change.execute("UPDATE volumes SET kind = ?, cache_id = ? WHERE name = ?", (CACHE, cache_id, name))
        return found

    def replace(self, name: str, fill: Callable[[str], None], *, kind: str = LOCAL) -> Volume:
        """A volume with other files: those that ``fill(directory)`` makes take the place of the old ones at once.

        One that is not there is made, of ``kind``. Raises Conflict while a build uses it.
        """
        check_name(name)
        old = self._find(name)
        if old is None:
            self._add(Volume(name, "", False, time.time(), {}, {}, kind), fill)
            return self.get(name)
        with self._alone(old, "import"):
            id, lock = self._directory(name, fill)
            with lock, self._database.transaction() as change:
                changed = change.execute("UPDATE volumes SET id = ? WHERE name = ?", (id, name))
            # What is not named by a record any more is removed.
            remove_tree(os.path.dirname(old.path) if changed else os.path.join(self.directory, id))
        return self.get(name)

    def _add(self, volume: Volume, begin: Callable[[str], None]) -> None:
        """Unless there is one with its name already."""
        id, lock = self._directory(volume.name, begin)
        with lock, self._database.transaction() as change:
            added = change.execute(
                """INSERT OR IGNORE INTO volumes
                   (name, id, anonymous, created, labels, options, kind, cache_id, last_used)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    volume.name, id, volume.anonymous, volume.created, encode(volume.labels).decode(),
                    encode(volume.options).decode(), volume.kind, volume.cache_id, volume.last_used,
                ),
            )  # fmt: skip
        if not added:
            remove_tree(os.path.join(self.directory, id))

    def _directory(self, name: str, begin: Callable[[str], None]) -> tuple[str, _Acquired]:
        """The id of a new directory that no record names yet. As long as its lock is held it is no orphan."""
        self._database.require_own()
        id = random_name(8)
        path = os.path.join(self.directory, id)
        lock = FileLock(os.path.join(path, "lock"))
        try:
            os.makedirs(self.directory, 0o711, exist_ok=True)
            os.mkdir(path, 0o711)
            lock.acquire()
            os.mkdir(os.path.join(path, "data"), 0o755)
            begin(os.path.join(path, "data"))
        except OSError as error:
            lock.release()
            remove_tree(path)
            raise from_os_error(error, f"create the volume {name}")
        except BaseException:
            lock.release()
            remove_tree(path)
            raise
        return id, _Acquired(lock)

    def lock_path(self, volume: Volume) -> str:
        """The file whose lock is held by those who use a cache."""
        return os.path.join(os.path.dirname(volume.path), "lock")

    def is_current(self, volume: Volume) -> bool:
        """Whether its name still means these files."""
        found = self._find(volume.name)
        return found is not None and found.path == volume.path

    def touch(self, name: str) -> None:
        """It was used just now."""
        with self._database.transaction() as change:
            change.execute("UPDATE volumes SET last_used = ? WHERE name = ?", (time.time(), name))

    def in_use(self, volume: Volume) -> bool:
        """Whether a build that runs has this cache mounted."""
        return _is_locked(self.lock_path(volume))

    def _alone(self, volume: Volume, doing: str) -> _Acquired:
        """The lock of a volume that nobody has mounted, held. Raises Conflict."""
        lock = FileLock(self.lock_path(volume))
        try:
            held = lock.acquire(blocking=False)
        except FileNotFoundError:
            held = True  # its directory is gone: there is nothing to use
        except OSError as error:
            raise from_os_error(error, f"lock the volume {volume.name}")
        if not held:
            raise Conflict(
                f"{doing} {volume.name}: volume is in use by a build", hint="Wait for the build that has it mounted."
            )
        return _Acquired(lock)

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
        with self._alone(volume, "remove"):
            with self._database.transaction() as change:
                change.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
            try:
                remove_tree(os.path.dirname(volume.path))
            except OSError as error:
                raise from_os_error(error, f"remove the volume {name}")

    def orphans(self) -> list[str]:
        """Directories that no record names, and that nobody is just filling: what a killed command left."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        known = self._ids()
        free = [name for name in sorted(names) if name not in known and not _is_being_filled(self._path(name))]
        # Who fills one holds its lock until the record is there: the records are looked at once more, after the locks.
        known = self._ids()
        return [self._path(name) for name in free if name not in known]

    def _ids(self) -> set[str]:
        return {row[0] for row in self._database.rows("SELECT id FROM volumes")}

    def _path(self, id: str) -> str:
        return os.path.join(self.directory, id)

    def _find(self, name: str) -> Volume | None:
        found = self._query("WHERE name = ?", (name,))
        return found[0] if found else None

    def _query(self, clause: str, parameters: Sequence[str] = ()) -> list[Volume]:
        rows = self._database.rows(
            "SELECT name, id, anonymous, created, labels, options, kind, cache_id, last_used FROM volumes " + clause,
            parameters,
        )
        return [
            Volume(
                row[0], os.path.join(self.directory, row[1], "data"), bool(row[2]), row[3],
                json.loads(row[4]), json.loads(row[5]), *row[6:],
            )
            for row in rows
        ]  # fmt: skip


def _is_being_filled(directory: str) -> bool:
    """A directory that is just made has no lock yet."""
    lock = os.path.join(directory, "lock")
    try:
        if not os.path.exists(lock):
            return 0 <= time.time() - os.stat(directory).st_mtime < _NEW_SECONDS
    except FileNotFoundError:
        return False
    return _is_locked(lock)


def _is_locked(path: str) -> bool:
    lock = FileLock(path)
    try:
        held = lock.acquire(blocking=False)
    except OSError:
        return False
    lock.release()
    return not held


class _Acquired:
    """A lock that is held until the end of the ``with``."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        """It was acquired before."""

    def __exit__(self, *_: object) -> None:
        self._lock.release()
