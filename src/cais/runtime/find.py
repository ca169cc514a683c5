"""Which OCI runtime this host has, which cgroups and rights: by a look at files, without starting a process."""

from __future__ import annotations

import errno
import os

from cais.errors import Failed, Invalid, Unavailable, from_os_error
from cais.host import namespaces, syscalls
from cais.host.processes import find_program as find_program
from cais.runtime.spec import ALL_CAPABILITIES, Host
from cais.spec.named import NamedTuple

_UNIFIED = "/sys/fs/cgroup/unified"


class Cgroups(NamedTuple):
    """``mode``: ``unified`` (v2), ``legacy`` (v1), ``hybrid`` (v1, and v2 without controllers beside it), ``none``.

    ``controllers``: those that containers can be given limits with; empty where this user may not write them.
    """

    mode: str
    controllers: frozenset[str]
    writable: bool


class Found(NamedTuple):
    """``name`` is ``crun`` or ``runc``, whatever the file is called."""

    name: str
    path: str


# As Docker's daemon calls it.
_DOCKERS_NAMES = {"io.containerd.runc.v2": "runc"}


def find_runtime(wanted: str = "") -> Found:
    """``wanted`` is a name or a path; without it, crun before runc. Raises Unavailable, naming the package."""
    if wanted:
        wanted = _DOCKERS_NAMES.get(wanted, wanted)
        path = wanted if "/" in wanted else find_program(wanted)
        if not path or not os.access(path, os.X_OK):
            raise Unavailable(f"the OCI runtime {wanted!r} is not there or cannot be executed")
        name = os.path.basename(path)
        if "crun" not in name and "runc" not in name:
            raise Invalid(f"the OCI runtime {wanted!r} is neither crun nor runc")
        return Found("crun" if "crun" in name else "runc", path)
    for name in ("crun", "runc"):
        path = find_program(name)
        if path:
            return Found(name, path)
    raise Unavailable(
        "no OCI runtime is installed: containers and RUN steps cannot run",
        hint="Install one (Debian: apt-get install crun).",
    )


def cgroups() -> Cgroups:
    """What this host has, as this process sees it now."""
    mode, first, unified_elsewhere = "none", "", False
    controllers: set[str] = set()
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                left, _, right = line.partition(" - ")
                kind = right.split(" ", 1)[0]
                if kind not in ("cgroup", "cgroup2"):
                    continue
                path = left.split(" ")[4]
                if kind == "cgroup2":
                    if path == "/sys/fs/cgroup":
                        mode, first = "unified", path
                    elif path.startswith("/sys/fs/cgroup/"):
                        unified_elsewhere = True
                elif path.startswith("/sys/fs/cgroup/"):
                    mode, first = "legacy", first or path
                    options = right.rsplit(" ", 1)[1].strip().split(",")
                    controllers.update(option for option in options if option in _CONTROLLERS)
    except FileNotFoundError:
        return Cgroups("none", frozenset(), False)
    if mode == "unified":
        try:
            with open("/sys/fs/cgroup/cgroup.controllers", encoding="utf-8") as file:
                controllers.update(file.read().split())
        except OSError:
            pass
    elif mode == "legacy" and unified_elsewhere:
        mode = "hybrid"
    writable = bool(first) and os.access(first, os.W_OK)
    return Cgroups(mode, frozenset(controllers) if writable else frozenset(), writable)


_CONTROLLERS = frozenset(
    ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb", "rdma")
)


def facts(runtime: Found) -> Host:
    """What a spec needs, without a seccomp profile, in the namespaces that are entered for it.

    On the way crun is given what it needs there: see ``hide_unified`` and ``mount_read_only``. Raises Denied, Failed.
    """
    entered = namespaces.enter()
    groups = cgroups()
    if runtime.name == "crun":
        if groups.mode == "hybrid":
            hide_unified()
        mount_read_only(runtime.path)
    bounding = _bounding_set()
    return Host(
        entered.user_namespace,
        entered.id_count,
        groups.mode,
        groups.controllers,
        groups.writable,
        frozenset(name for number, name in enumerate(ALL_CAPABILITIES) if bounding >> number & 1),
    )


def _bounding_set() -> int:
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"CapBnd:"):
                return int(line[7:], 16)
    raise Failed("the kernel does not say which capabilities this process has (/proc/self/status)")


def mount_read_only(program: str) -> None:
    """Takes from crun the work of a third of its time, and gives it the same safety.

    A container could write to the file of the runtime that started it, by /proc. So crun mounts its file read-only and
    starts itself again from there, but where it finds itself on a read-only mount. Only in a private mount namespace,
    which no container can reach; where it cannot be done, crun does it.
    """
    flags = os.statvfs(program).f_flag
    if flags & os.ST_RDONLY:
        return
    try:
        syscalls.mount(program, program, "", syscalls.MS_BIND)
        # In a user namespace the flags that are there are locked: to leave one out is refused.
        flags &= syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("none", program, "", syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | flags)
    except OSError:
        pass


def hide_unified() -> None:
    """Takes the v2 hierarchy of a hybrid host out of sight: crun refuses hybrids, and works with their v1 part.

    Only in a private mount namespace.
    """
    if not os.path.exists(f"{_UNIFIED}/cgroup.controllers"):
        return  # covered already, where this process comes from: what would be taken away is the cover
    try:
        syscalls.umount(_UNIFIED, syscalls.MNT_DETACH)
    except OSError as error:
        # Mounts that a user namespace inherited are locked: they can be covered, not taken away.
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise from_os_error(error, f"hide {_UNIFIED}")
        try:
            syscalls.mount("tmpfs", _UNIFIED, "tmpfs", syscalls.MS_RDONLY, "size=4k")
        except OSError as failure:
            raise from_os_error(failure, f"hide {_UNIFIED}")
