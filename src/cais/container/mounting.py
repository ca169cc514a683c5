"""The mounts of a container: from its plan's mount points to what a runtime, or ``container.files``, mounts.

A path inside a volume or an image may be hostile: it is resolved by the kernel with the volume as its bound, and what
was found is mounted where the runtime takes it from, so that nobody exchanges it on the way.
"""

from __future__ import annotations

import os

from cais.container.mount_options import MountPoint
from cais.errors import CaisError, Invalid, NotFound, Unsupported, from_os_error
from cais.host import mounts, syscalls
from cais.host.namespaces import in_user_namespace
from cais.runtime import spec
from cais.runtime.guardian import VIEW
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cais.snapshot.store import SnapshotStore
    from cais.volume.store import VolumeStore

_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


class Mounting:
    """What one start of a container mounts. In ``directory``, its bundle, stands what is mounted on the way; it goes
    with the bundle, or with ``close``."""

    def __init__(self, snapshots: SnapshotStore, volumes: VolumeStore, directory: str) -> None:
        self._snapshots = snapshots
        self._volumes = volumes
        self._directory = directory
        self._views: list[str] = []

    def prepare(self, points: Sequence[MountPoint], rootfs: str) -> list[Mapping[str, Any]]:
        """``points`` as the OCI runtime spec has them; new volumes are filled from ``rootfs``.

        Raises Invalid, NotFound, Unavailable, Unsupported.
        """
        return [self._prepare(point, rootfs) for point in points]

    def source(self, point: MountPoint) -> str:
        """What of this host is to be bound, made or mounted where it has to be; "" for what is a file system of its
        own. Raises as ``prepare``."""
        if point.kind == "tmpfs":
            return ""
        if point.kind == "image":
            path = self._view(point)
        elif point.kind == "volume":
            path = self._volume(point)
        else:
            path = point.source
            _check_source(point)
        return self._inside(path, point) if point.subpath else path

    def close(self) -> None:
        """What was mounted on the way is gone again."""
        for path in reversed(self._views):
            mounts.unmount(path)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
        self._views.clear()

    def _prepare(self, point: MountPoint, rootfs: str) -> Mapping[str, Any]:
        source = self.source(point)
        if not source:
            return _tmpfs(point, _mode_there(rootfs, point.target))
        if point.kind == "volume":
            volume = self._volumes.get(point.source)
            if point.copy:
                from cais.volume.filling import fill

                fill(volume.path, rootfs, point.target, volume.options)
            if volume.options:
                from cais.volume.options import is_readonly

                point = point._replace(readonly=point.readonly or is_readonly(volume.options))
        if point.relabel:
            from cais.host.selinux import relabel

            relabel(source)
        if point.propagation.endswith(("shared", "slave")):
            source = self._propagating(source, point)
        options = ["rbind" if point.recursive else "bind", *_readonly(point, source)]
        # crun takes the "r" of these for a recursive bind.
        propagation = point.propagation or "rprivate"
        options.append(propagation if point.recursive else propagation.removeprefix("r"))
        return spec.bind(source, point.target, options)

    def _propagating(self, source: str, point: MountPoint) -> str:
        """A mount of ``source`` that mounts of the host come to, or go to: those of this command's own namespace get
        what the host mounts, and give nothing back. Raises Invalid where the host's mount is not of that sort."""
        kind, place, process = _on_the_host(source)
        if kind == "private" or (kind == "slave" and point.propagation.endswith("shared")):
            wanted = "a shared" if point.propagation.endswith("shared") else "a shared or slave"
            raise Invalid(
                f"path {point.source} is mounted on {place} but it is not {wanted} mount", exit_code=125,
                hint=f"Make it one: mount --make-rshared {place}",
            )  # fmt: skip
        if not point.propagation.endswith("shared") or in_user_namespace():
            return source
        tree = mounts.clone_elsewhere(process, source, recursive=point.recursive)
        try:
            target = self._place(os.path.isdir(source))
            syscalls.move_mount(tree, target)
        finally:
            os.close(tree)
        return target

    def _volume(self, point: MountPoint) -> str:
        volume = self._volumes.use(point.source)
        if volume.options:
            from cais.volume.mounting import mount

            mount(volume)
        return volume.path

    def _view(self, point: MountPoint) -> str:
        """An image's file system, mounted read-only; it goes with the bundle."""
        path = self._place(is_directory=True)
        if point.chain:
            mounts.realise(self._snapshots.view(Digest(point.chain)), path)
        return path

    def _inside(self, path: str, point: MountPoint) -> str:
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = syscalls.openat2(root, point.subpath, os.O_PATH, _RESOLVE)
        except FileNotFoundError:
            raise NotFound(
                f"cannot access path {point.subpath} in the {point.kind} {point.source}: no such file or directory",
                exit_code=125,
            )
        except OSError as error:
            raise from_os_error(error, f"access path {point.subpath} in the {point.kind} {point.source}")
        finally:
            os.close(root)
        try:
            source = f"/proc/self/fd/{found}"
            target = self._place(os.path.isdir(source))
            mounts.mount_bind(source, target)
            return target
        except OSError as error:
            raise from_os_error(error, f"mount {point.subpath} of the {point.kind} {point.source}")
        finally:
            os.close(found)

    def _place(self, is_directory: bool) -> str:
        path = os.path.join(self._directory, f"{VIEW}{len(self._views)}")
        if is_directory:
            os.makedirs(path, 0o700, exist_ok=True)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._views.append(path)
        return path


def propagation(path: str, process: str) -> tuple[str, str]:
    """``shared``, ``slave`` or ``private``, and the mount point, of the mount that ``path`` is on for ``process``.
    Raises OSError."""
    real = os.path.realpath(path)
    best, kind = "", "private"
    with open(f"/proc/{process}/mountinfo", "rb") as lines:
        for line in lines:
            fields = line.split(b" ")
            place = os.fsdecode(fields[4].replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\134", b"\\"))
            if (real == place or real.startswith(place.rstrip("/") + "/")) and len(place) >= len(best):
                tags = b" ".join(fields[6 : fields.index(b"-")])
                best = place
                kind = "shared" if b"shared:" in tags else "slave" if b"master:" in tags else "private"
    return kind, best


def _on_the_host(path: str) -> tuple[str, str, str]:
    """``propagation``, and for whom: the first of this process's ancestors to whom the mount is a shared one. Those of
    this process itself are its own, and at most slaves."""
    process, answer = "self", ("private", "/", "self")
    while process != "0":
        try:
            kind, place = propagation(path, process)
            answer = (kind, place, process)
            with open(f"/proc/{process}/stat", "rb") as file:
                process = file.read().rpartition(b") ")[2].split()[1].decode()
        except OSError:
            break  # of another user
        if kind == "shared":
            break
    return answer


def root_propagation(points: Sequence[MountPoint]) -> str:
    """What the container's root has to be, that its mounts be what was asked for; "" for the default."""
    asked = {point.propagation.removeprefix("r") for point in points}
    return "shared" if "shared" in asked else "rslave" if "slave" in asked else ""


def _mode_there(rootfs: str, target: str) -> int:
    """The mode of the directory at ``target``, or 1777 where there is none."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = syscalls.openat2(root, target, os.O_PATH, _RESOLVE)
    except OSError:
        return 0o1777
    finally:
        os.close(root)
    try:
        return os.fstat(found).st_mode & 0o7777
    finally:
        os.close(found)


def _tmpfs(point: MountPoint, mode: int) -> Mapping[str, Any]:
    """``mode`` is that of what it hides."""
    options = ["nosuid", "nodev", "noexec"]
    for flag in point.flags:
        options = [option for option in options if option != "no" + flag and option != flag] + [flag]
    if point.size_bytes:
        options.append(f"size={point.size_bytes}")
    if point.mode:
        options.append(f"mode={point.mode}")
    if not any(option.startswith("mode=") for option in options):
        options.append(f"mode={mode:o}")
    if "rw" not in options and "ro" not in options:
        options.append("ro" if point.readonly else "rw")
    return {"destination": point.target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _readonly(point: MountPoint, source: str) -> list[str]:
    if not point.readonly:
        return ["rw"]
    if point.nested == "writable" or not point.recursive:
        return ["ro"]
    if not os.path.isdir(source):
        return ["ro"]  # nothing is below a file, and crun takes `rro` for directories only
    # Read-only below, too, as Docker has it; the kernel can do that since 5.12.
    release = os.uname().release.split(".")
    recent = release[0].isdigit() and (int(release[0]), int("".join(filter(str.isdigit, release[1])) or 0)) >= (5, 12)
    if point.nested == "readonly" and not recent:
        raise Unsupported(
            f"the mount at {point.target} cannot be made recursively read-only: this kernel is older than 5.12",
            exit_code=125,
        )
    return ["ro", "rro"] if recent else ["ro"]


def _check_source(point: MountPoint) -> None:
    if os.path.lexists(point.source):
        return
    if not point.make_source:
        raise missing_source(point.source)
    try:
        os.makedirs(point.source, 0o755, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, f"make the directory {point.source}")


def check_sources(points: Sequence[MountPoint]) -> None:
    """What Docker looks at when a container is created. Raises Invalid."""
    for point in points:
        if point.kind == "bind" and not point.make_source and not os.path.lexists(point.source):
            raise missing_source(point.source)


def missing_source(path: str) -> CaisError:
    return Invalid(f'invalid mount config for type "bind": bind source path does not exist: {path}', exit_code=125)
