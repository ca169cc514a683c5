"""VolumeStore: volumes by name, their records and directories."""

from __future__ import annotations

import os
import time

from cais.errors import CaisError, Conflict, NotFound, from_os_error
from cais.host.database import Database, Transaction
from cais.host.files import make_top, random_name, remove_tree
from cais.host.locks import FileLock
from cais.spec.encoding import decode, encode
from cais.volume.records import ANONYMOUS_LABEL, CACHE, LOCAL, Volume, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# As long as nobody takes from making a directory to locking it.
_NEW_SECONDS = 60.0
# What a directory is called while it is being removed.
_REMOVED = ".removed"


class VolumeStore:
    """``users``, where a method takes them: asked, once nobody else can change them, for who has the volume."""

    def __init__(self, root: str, database: Database) -> None:
        self.directory = os.path.join(root, "volumes")
        self.database = database
        self._held: list[FileLock] = []

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """A new volume, or the one with this name. Without a name it is anonymous. Raises Invalid, Unavailable.

        ``options`` are the local driver's (``volume.options``).
        """
        if driver not in ("", "local"):
            doing = f"create {name}: " if name else ""
            raise NotFound(f'{doing}error looking up volume plugin {driver}: plugin "{driver}" not found')
        if name:
            check_name(name)
            existing = self._find(name)
            if existing is not None:
                return existing
        else:
            name, anonymous = random_name(32), True
        labels = dict(labels or {})
        if anonymous:
            labels.setdefault(ANONYMOUS_LABEL, "")
        begin: Callable[[str], None] = _empty
        if options:
            from cais.volume.options import check_options, dress

            check_options(name, options)

            def begin(path: str) -> None:
                dress(path, options)

        self._add(Volume(name, "", anonymous, time.time(), labels, dict(options or {})), begin)
        return self.get(name)

    def clone(self, source: Volume, name: str, fill: Callable[[str], None], labels: Mapping[str, str]) -> Volume:
        """A new volume with the options of ``source`` and the files that ``fill(directory)`` makes. Raises Conflict."""
        check_name(name)
        taken = Conflict(f"clone {name}: a volume with this name exists", hint="Remove it first, or choose another.")
        if self._find(name) is not None:
            raise taken
        bounded = _bounded(source, fill)
        if not self._add(Volume(name, "", False, time.time(), dict(labels), source.options), bounded):
            raise taken
        return self.get(name)

    def cache(self, name: str, cache_id: str, begin: Callable[[str], None]) -> Volume:
        """The cache called ``name``; a new one is made whole by ``begin(directory)`` before anybody sees it."""
        found = self._find(name)
        if found is None:
            self._add(Volume(name, "", False, time.time(), {}, {}, CACHE, cache_id, time.time()), begin)
            return self.get(name)
        if (found.kind, found.cache_id) != (CACHE, cache_id):
            # One that was imported does not know its id.
            with self.database.transaction() as change:
                change.execute("UPDATE volumes SET kind = ?, cache_id = ? WHERE name = ?", (CACHE, cache_id, name))
        return found

    def replace(
        self, name: str, fill: Callable[[str], None], *, kind: str = LOCAL, doing: str = "import",
        users: Callable[[], Sequence[str]] = list,
    ) -> Volume:  # fmt: skip
        """A volume with other files: those that ``fill(directory)`` makes take the place of the old ones at once.

        One that is not there is made, of ``kind``. Raises Conflict while a build or one of ``users`` uses it.
        """
        check_name(name)
        old = self._find(name)
        if old is None:
            self._add(Volume(name, "", False, time.time(), {}, {}, kind), fill)
            return self.get(name)
        with self._alone(old, doing, users):
            pass  # what is in use now is said before the work
        id, lock = self.stage(name, _bounded(old, fill))
        with lock:
            try:
                # The name may mean other files by now: those that it means are the ones to be replaced.
                old = self.get(name)
                with self._alone(old, doing, users), self.database.transaction() as change:
                    change.execute("UPDATE volumes SET id = ?, measured = '' WHERE name = ?", (id, name))
            except BaseException:
                remove_tree(os.path.join(self.directory, id))
                raise
        self.discard(os.path.dirname(old.path))
        return self.get(name)

    def rename(self, change: Transaction, volume: Volume, name: str) -> None:
        """In the caller's transaction; the directory stays where it is. An anonymous one is not, from now on.

        Raises Invalid, Conflict.
        """
        check_name(name)
        if change.row("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None:
            raise Conflict(f"rename {volume.name}: a volume with the name {name} exists")
        labels = {key: value for key, value in volume.labels.items() if key != ANONYMOUS_LABEL}
        if not change.execute(
            "UPDATE volumes SET name = ?, anonymous = 0, labels = ? WHERE name = ?",
            (name, encode(labels).decode(), volume.name),
        ):
            raise NotFound(f"get {volume.name}: no such volume")
        change.execute("UPDATE volume_snapshots SET volume = ? WHERE volume = ?", (name, volume.name))

    def relabel(self, name: str, labels: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Adds ``labels``, and takes those named by ``remove`` away. Raises NotFound."""
        with self.database.transaction() as change:
            found = dict(self.get(name).labels)
            for key in remove:
                found.pop(key, None)
            found.update(labels)
            change.execute("UPDATE volumes SET labels = ? WHERE name = ?", (encode(found).decode(), name))

    def _add(self, volume: Volume, begin: Callable[[str], None]) -> bool:
        """False where there is one with its name already."""
        self.sweep()
        id, lock = self.stage(volume.name, begin)
        with lock, self.database.transaction() as change:
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
        return bool(added)

    def stage(self, name: str, begin: Callable[[str], None]) -> tuple[str, _Acquired]:
        """The id of a new directory that no record names yet. As long as its lock is held it is no orphan."""
        self.database.require_own()
        id = random_name(8)
        path = os.path.join(self.directory, id)
        lock = FileLock(os.path.join(path, "lock"))
        try:
            make_top(self.directory, 0o711)
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
        """It was used just now: what was known of its size holds no more."""
        with self.database.transaction() as change:
            change.execute("UPDATE volumes SET last_used = ?, uses = uses + 1 WHERE name = ?", (time.time(), name))

    def use(self, name: str) -> Volume:
        """The volume for a container that starts, held as by ``hold``. Raises as that."""
        volume = self.hold(name)
        self.touch(name)
        return volume

    def hold(self, name: str) -> Volume:
        """The volume; until ``let_go`` nobody replaces or removes its files.

        Raises NotFound, Conflict (a build has locked this cache).
        """
        while True:
            volume = self.get(name)
            lock = FileLock(self.lock_path(volume))
            try:
                if not lock.acquire(shared=True, blocking=False):
                    if volume.kind == CACHE:
                        raise Conflict(f"volume {name} is in use by a build", exit_code=125)
                    lock.acquire(shared=True)  # it is being replaced, which takes no time
            except FileNotFoundError:
                raise NotFound(
                    f"the directory of the volume {name} is not there",
                    hint="'cais system check --repair' makes it again, empty.",
                    exit_code=125,
                )
            except OSError as error:
                raise from_os_error(error, f"lock the volume {name}")
            if self.is_current(volume):
                self._held.append(lock)
                return volume
            lock.release()

    def let_go(self) -> None:
        """The container's record says that it has them, and whether it runs: others may ask that from now on."""
        while self._held:
            self._held.pop().release()

    def in_use(self, volume: Volume) -> bool:
        """Whether a build that runs has this cache mounted."""
        return _is_locked(self.lock_path(volume))

    def _alone(self, volume: Volume, doing: str, users: Callable[[], Sequence[str]] = list) -> _Acquired:
        """The lock of a volume that nobody has mounted, held. Raises Conflict."""
        lock = FileLock(self.lock_path(volume))
        try:
            held = lock.acquire(blocking=False)
        except FileNotFoundError:
            held = True  # its directory is gone: there is nothing to use
        except OSError as error:
            raise from_os_error(error, f"lock the volume {volume.name}")
        if not held:
            by = "build that has it mounted" if volume.kind == CACHE else "command that uses it"
            raise Conflict(
                f"{doing} {volume.name}: volume is in use by a {by.partition(' ')[0]}", hint=f"Wait for the {by}."
            )
        found = users()
        if found:
            lock.release()
            raise Conflict(f"{doing} {volume.name}: volume is in use - [{', '.join(found)}]")
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

    def remove(self, name: str, users: Callable[[], Sequence[str]] = list) -> None:
        """Removes a volume and its files; ``users`` gives the ids of the containers that have it. Raises Conflict."""
        volume = self.get(name)
        with self._alone(volume, "remove"):
            with self.database.transaction() as change:
                found = users()
                if found:
                    raise Conflict(f"remove {name}: volume is in use - [{', '.join(found)}]")
                if change.row("SELECT 1 FROM volume_snapshots WHERE volume = ?", (name,)) is not None:
                    raise Conflict(
                        f"remove {name}: volume has snapshots",
                        hint=f"Remove them first: cais volume ls --snapshots, cais volume rm {name}@SNAPSHOT",
                    )
                change.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
            try:
                self.discard(os.path.dirname(volume.path))
            except OSError as error:
                raise from_os_error(error, f"remove the volume {name}")
        self.sweep()

    def discard(self, directory: str) -> None:
        """Removes the directory that no record names any more; killed on the way, ``sweep`` goes on. Raises OSError."""
        doomed = directory + _REMOVED
        try:
            os.rename(directory, doomed)
        except FileNotFoundError:
            return
        remove_tree(doomed)

    def sweep(self) -> None:
        """Removes what killed commands left. Nothing is raised: the next one tries again."""
        for path in self.orphans():
            try:
                remove_tree(path)
            except (OSError, CaisError):
                continue

    def orphans(self) -> list[str]:
        """Directories that no record names, and that nobody is just filling: what a killed command left."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        known = self._ids()
        free = [
            name
            for name in sorted(names)
            if name not in known and (name.endswith(_REMOVED) or not _is_being_filled(self._path(name)))
        ]
        # Who fills one holds its lock until the record is there: the records are looked at once more, after the locks.
        known = self._ids()
        return [self._path(name) for name in free if name not in known]

    def _ids(self) -> set[str]:
        return {row[0] for row in self.database.rows("SELECT id FROM volumes UNION SELECT id FROM volume_snapshots")}

    def _path(self, id: str) -> str:
        return os.path.join(self.directory, id)

    def _find(self, name: str) -> Volume | None:
        found = self._query("WHERE name = ?", (name,))
        return found[0] if found else None

    def _query(self, clause: str, parameters: Sequence[str] = ()) -> list[Volume]:
        rows = self.database.rows(
            "SELECT name, id, anonymous, created, labels, options, kind, cache_id, last_used FROM volumes " + clause,
            parameters,
        )
        return [
            Volume(
                row[0], os.path.join(self.directory, row[1], "data"), bool(row[2]), row[3],
                decode(row[4]), decode(row[5]), *row[6:],
            )
            for row in rows
        ]  # fmt: skip


def _bounded(volume: Volume, fill: Callable[[str], None]) -> Callable[[str], None]:
    """``fill`` for files that take the place of, or are a copy of, those of a volume with a quota."""
    if "size" not in volume.options:
        return fill

    def bounded(path: str) -> None:
        from cais.volume.options import dress

        dress(path, {"size": volume.options["size"]})
        fill(path)

    return bounded


def _empty(path: str) -> None:
    """A volume begins empty."""


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
