"""What ``RUN --mount`` puts into a step's file system while it runs, and takes away again."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence

from cais.build.credentials import Credentials
from cais.build.graph import Exec, ExecMount
from cais.build.plan import Result
from cais.errors import CaisError, Cancelled, Failed, Invalid, NotFound, from_os_error
from cais.host import syscalls
from cais.host.copying import copy_tree
from cais.host.files import write_all
from cais.host.mounts import realise
from cais.host.owners import give
from cais.runtime.private import private_directory, with_private_configuration
from cais.runtime.runner import Bundle
from cais.runtime.spec import bind
from cais.snapshot.store import Prepared, SnapshotStore
from cais.spec.digest import Digest
from cais.spec.mount import Mount, plain_directory
from cais.volume.caches import Cache, Held, acquire
from cais.volume.store import VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.ops.agent import AgentSocket

_INSIDE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_SMALL = ("ro", "nosuid", "nodev", "noexec")
_STRICTER = ("shared", "private", "locked")
_WAIT_SECONDS = 0.05
_NEW_TMPFS_MODE = 0o1777


class Sources:
    """Where mounts come from. ``ensure`` unpacks an image's layers before they are looked at."""

    def __init__(
        self,
        snapshots: SnapshotStore,
        ensure: Callable[[Digest], None],
        volumes: VolumeStore,
        credentials: Credentials,
    ) -> None:
        self.snapshots = snapshots
        self.ensure = ensure
        self.volumes = volumes
        self.credentials = credentials


class StepMounts:
    """The mounts of one run of ``op``; close it afterwards.

    ``bundle`` is to be used in place of the one that was given. ``mounts`` are OCI mounts, ``environment`` is
    ``NAME=value``, ``secrets`` are the values that must not be shown. ``wait(text)`` is called once where a cache has
    to be waited for. Raises NotFound, Invalid, Cancelled and what opening a source raises.
    """

    def __init__(
        self,
        op: Exec,
        bundle: Bundle,
        inputs: Sequence[Result],
        sources: Sources,
        cancelled: threading.Event,
        wait: Callable[[str], None],
    ) -> None:
        self.mounts: list[Mapping[str, Any]] = []
        self.environment: list[str] = []
        self.secrets: list[bytes] = []
        self._inputs = inputs
        self._sources = sources
        self._cancelled = cancelled
        self._wait = wait
        self._caches: dict[Cache, Held] = {}
        self._prepared: list[Prepared] = []
        self._agents: list[AgentSocket] = []
        self._number = 0
        self._private = private_directory(bundle)
        self._rootfs = bundle.rootfs
        self.bundle = bundle
        if op.has_credentials or any(mount.environment for mount in op.mounts):
            self.bundle = with_private_configuration(bundle)
        try:
            self._hold_caches(op.mounts)
            for mount in op.mounts:
                self._add(mount)
        except OSError as error:
            self.close()
            raise from_os_error(error, "prepare the mounts of a step")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """What is mounted goes with the bundle."""
        for agent in self._agents:
            agent.close()
        for held in self._caches.values():
            held.release()
        for prepared in self._prepared:
            try:
                self._sources.snapshots.discard(prepared)
            except (OSError, CaisError):
                pass  # while an error may be on its way; the collector finds it
        self._agents, self._prepared = [], []
        self._caches = {}

    def _add(self, mount: ExecMount) -> None:
        if mount.kind == "tmpfs":
            self.mounts.append(self._tmpfs(mount))
        elif mount.kind == "secret":
            self._secret(mount)
        elif mount.kind == "ssh":
            self._agent(mount)
        else:
            path = self._caches[self._cache(mount)].path if mount.kind == "cache" else self._source(mount)
            self.mounts.append(bind(path, mount.target, ("ro" if mount.readonly else "rw",)))

    def _tmpfs(self, mount: ExecMount) -> Mapping[str, Any]:
        options = ["nosuid", f"mode={self._mode(mount.target):o}"]
        if mount.readonly:
            options.append("ro")
        if mount.size_bytes:
            options.append(f"size={mount.size_bytes}")
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}

    def _mode(self, target: str) -> int:
        """As runc gives it: that of the directory which it hides, else that of /tmp."""
        try:
            found = _open_inside(self._rootfs, target)
        except OSError:
            return _NEW_TMPFS_MODE
        try:
            return stat.S_IMODE(os.fstat(found).st_mode)
        finally:
            os.close(found)

    def _place(self) -> str:
        """A new empty directory to mount on."""
        self._number += 1
        path = os.path.join(self._private, str(self._number))
        os.mkdir(path, 0o755)
        return path

    def _source(self, mount: ExecMount) -> str:
        """The path, outside, of what a bind shows."""
        chain = self._inputs[mount.input].chain
        if mount.readonly and chain is None:
            root = self._place()
            os.chmod(root, 0o755)
        elif mount.readonly and chain is not None:
            self._sources.ensure(chain)
            root = self._mounted(self._sources.snapshots.view(chain))
        else:
            if chain is not None:
                self._sources.ensure(chain)
            # What is written is thrown away with it.
            prepared = self._sources.snapshots.prepare(chain, volatile=True)
            self._prepared.append(prepared)
            root = self._mounted(prepared.mounts)
        return _path_inside(root, mount.source)

    def _mounted(self, mounts: Sequence[Mount]) -> str:
        directory = plain_directory(mounts)
        if not directory:
            directory = self._place()
            realise(mounts, directory)
        return directory

    def _cache(self, mount: ExecMount) -> Cache:
        owner, mode = (mount.user_id, mount.group_id), 0o755 if mount.mode is None else mount.mode
        if mount.input < 0:
            return Cache(mount.id, "", owner, mode)
        chain = self._inputs[mount.input].chain
        origin = f"{chain or ''}\0{mount.source}"
        return Cache(mount.id, origin, owner, mode)

    def _hold_caches(self, mounts: Sequence[ExecMount]) -> None:
        """Everybody takes them in the same order, so that two steps cannot wait for each other."""
        wanted: dict[Cache, ExecMount] = {}
        for mount in mounts:
            if mount.kind == "cache":
                cache = self._cache(mount)
                before = wanted.get(cache)
                if before is None or _STRICTER.index(before.sharing) < _STRICTER.index(mount.sharing):
                    wanted[cache] = mount
        told: set[str] = set()

        def wait(name: str) -> None:
            if name not in told:
                told.add(name)
                self._wait(f"waiting for the cache mount {name}, which another build step has locked")
            if self._cancelled.wait(_WAIT_SECONDS):
                raise Cancelled("stopped")

        for cache in sorted(wanted):
            mount = wanted[cache]
            fill = self._begin(mount) if mount.input >= 0 else None
            self._caches[cache] = acquire(self._sources.volumes, cache, mount.sharing, wait, fill)

    def _begin(self, mount: ExecMount) -> Callable[[str], None]:
        def fill(path: str) -> None:
            source = self._source(mount._replace(readonly=True))
            if not os.path.isdir(source):
                raise Invalid(f'cache mount: "{mount.source}" is not a directory')
            copy_tree(source, path, owners=self._sources.snapshots.owners)

        return fill

    def _secret(self, mount: ExecMount) -> None:
        value = self._sources.credentials.secret(mount.id)
        if value is None:
            if mount.required:
                raise NotFound(
                    f"secret {mount.id}: not found", hint=f"Give it with --secret id={mount.id},src=FILE (or env=NAME)."
                )
            return
        self.secrets.append(value)
        if mount.environment:
            if b"\0" in value:
                raise Invalid(f"secret {mount.id}: it has a NUL byte, which no variable can have")
            self.environment.append(f"{mount.environment}={value.decode('utf-8', 'surrogateescape')}")
        if mount.target:
            path = os.path.join(self._private, f"secret.{len(self.mounts)}")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, value)
                give(descriptor, mount.user_id, mount.group_id)
                os.fchmod(descriptor, (mount.mode or 0) & 0o7777)
            finally:
                os.close(descriptor)
            self.mounts.append(bind(path, mount.target, _SMALL))

    def _agent(self, mount: ExecMount) -> None:
        found = self._sources.credentials.agent(mount.id)
        if found is None:
            if mount.required:
                raise Failed(
                    f"unset ssh forward key {mount.id}", hint=f"Give the agent with --ssh {mount.id}[=SOCKET or KEY]."
                )
            return
        from cais.build.ops.agent import AgentSocket

        owner, mode = (mount.user_id, mount.group_id), (mount.mode or 0) & 0o7777
        agent = AgentSocket(self._private, f"agent.{len(self.mounts)}", found, owner, mode)
        self._agents.append(agent)
        self.mounts.append(bind(agent.path, mount.target, ("rw", "nosuid", "nodev", "noexec")))


def _open_inside(root: str, path: str) -> int:
    """What ``path`` is in ``root``, whatever links say. Raises OSError."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.openat2(directory, path, os.O_PATH, _INSIDE)
    finally:
        os.close(directory)


def _path_inside(root: str, path: str) -> str:
    """Nobody else changes ``root``: the path, without links, stays what it is. Raises NotFound."""
    try:
        found = _open_inside(root, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise NotFound(f'"{path}": not found')
        raise
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)
