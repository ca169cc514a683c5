"""A container's files, while it runs and while it does not: a descriptor of its root directory.

Of one that runs it is the root of its first process, with all that is mounted there; of one that does not, its file
system with its volumes and binds is mounted in the private namespace of this command, and nobody starts it meanwhile.
Paths are resolved by the kernel with that root as their bound, so that no link leads out, whoever changes it.
"""

from __future__ import annotations

import errno
import os
import stat

from cais.container.mount_options import MountPoint
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.errors import CaisError, Invalid, NotFound, from_os_error
from cais.host import mounts, syscalls
from cais.host.locks import FileLock
from cais.host.processes import is_alive
from cais.runtime import mount_points
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from cais.container.store import Containers
    from cais.host.processes import ProcessName

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
# Where every container has file systems of the kernel's own.
_KERNELS = ("/proc", "/sys", "/dev")
_LINKS_LIMIT = 40


class Root:
    """A tree in which paths are looked up. ``root`` is its descriptor; ``skip`` the directories, by (device, inode),
    whose entries no copy takes along; ``kind`` what messages call it."""

    kind = "container"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.root = -1
        self.skip: frozenset[tuple[int, int]] = frozenset()

    def check_writable(self, directory: int) -> None:
        """Raises Invalid where nothing may be written in the open ``directory``."""
        if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            raise Invalid(f"{self.kind} is marked read-only")

    def find(self, path: str, flags: int = os.O_PATH) -> int:
        """A descriptor of ``path`` inside the tree. Raises OSError."""
        return syscalls.openat2(self.root, path, flags, _RESOLVE)

    def real(self, path: str) -> str:
        """``path`` with its last component's links followed, also to what is not there yet. Raises OSError."""
        for _ in range(_LINKS_LIMIT):
            try:
                node = self.find(path.rstrip("/") or "/", os.O_PATH | os.O_NOFOLLOW)
            except FileNotFoundError:
                return path
            try:
                if not stat.S_ISLNK(os.fstat(node).st_mode):
                    return path
                target = os.readlink(b"", dir_fd=node)
            finally:
                os.close(node)
            path = os.path.normpath(os.path.join(os.path.dirname(path.rstrip("/")), os.fsdecode(target)))
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


class Files(Root):
    """``with Files(store, record) as files``. Enter the private namespaces before. Raises NotFound, Denied, Failed."""

    def __init__(self, store: Containers, record: ContainerRecord) -> None:
        super().__init__(Plan.from_json(record.plan))
        self._store = store
        self._record = record
        self._place = ""
        self._bare = -1
        self._made: tuple[mount_points.Made, ...] = ()
        self._lock: FileLock | None = None

    def __enter__(self) -> Files:
        try:
            self._open()
        except OSError as error:
            self.close()
            raise from_os_error(error, f"open the files of the container {self._record.name}")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_writable(self, directory: int) -> None:
        """Raises Invalid with Docker's words where nothing may be written in the open ``directory``."""
        own = os.fstat(directory).st_dev == os.fstat(self.root).st_dev
        if own and self.plan.readonly:
            raise Invalid("container rootfs is marked read-only")
        if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            raise Invalid("container rootfs is marked read-only" if own else "mounted volume is marked read-only")

    def close(self) -> None:
        """What was mounted and made for this is gone again. Until now its volumes stay as they are."""
        self._store.rooms.volumes.let_go()
        if self.root >= 0:
            os.close(self.root)
        if self._place:
            mounts.unmount(self._place)
        if self._bare >= 0:
            if self._made:
                try:
                    mount_points.remove(f"/proc/self/fd/{self._bare}", self._made)
                except (OSError, CaisError):
                    pass  # removed by another command at the same time, with the container
            os.close(self._bare)
        if self._lock is not None:
            self._lock.release()
        self.root = self._bare = -1
        self._place, self._made, self._lock = "", (), None

    def _open(self) -> None:
        process = self._store.state(self._record).process
        if process is not None and self._open_running(process):
            return
        lock = FileLock(os.path.join(self._store.directory(self._record.id), "lock"))
        try:
            lock.acquire()
        except FileNotFoundError:
            raise NotFound(f"No such container: {self._record.name}")
        self._lock = lock
        process = self._store.state(self._store.records.get(self._record.id)).process
        if process is not None and self._open_running(process):
            lock.release()
            self._lock = None
            return
        self._open_stopped()

    def _open_running(self, process: ProcessName) -> bool:
        """False where it ended just now."""
        try:
            root = os.open(f"/proc/{process.pid}/root", _DIRECTORY)
        except (FileNotFoundError, ProcessLookupError):
            return False
        if not is_alive(process):
            os.close(root)  # of whoever has its number by now
            return False
        self.root = root
        found = set()
        for path in _KERNELS:
            try:
                node = self.find(path)
            except OSError:
                continue
            status = os.fstat(node)
            os.close(node)
            found.add((status.st_dev, status.st_ino))
        self.skip = frozenset(found)
        return True

    def _open_stopped(self) -> None:
        rooms, record = self._store.rooms, self._record
        directory = self._store.directory(record.id)
        place = os.path.join(directory, "files")
        os.makedirs(place, 0o700, exist_ok=True)
        prepared = rooms.snapshots.reopen(record.snapshot, Digest(record.chain) if record.chain else None)
        mounts.realise(prepared.mounts, place)
        self._place = place
        self.root = os.open(place, _DIRECTORY)
        self._bare = syscalls.open_tree(place, syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC)
        if not self.plan.mounts:
            return
        from cais.container.mounting import Mounting
        from cais.container.prepare import note_stubs

        mounting = Mounting(rooms.snapshots, rooms.volumes, directory)
        try:
            for point in self.plan.mounts:
                if point.kind == "bind" and not os.path.exists(point.source):
                    continue  # it would be missed by a start, not by a look at the files
                source = mounting.source(point)
                if source:
                    self._made += mount_points.prepare(place, [(point.target, os.path.isdir(source))])
                    note_stubs(directory, self._made)
                    self._mount(source, point)
        finally:
            mounting.close()

    def _mount(self, source: str, point: MountPoint) -> None:
        target = self.find(point.target)
        try:
            mounts.mount_bind_at(source, target, ("ro",) if point.readonly else (), recursive=point.recursive)
        finally:
            os.close(target)
