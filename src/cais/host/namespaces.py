"""Private namespaces for this process: its mounts are its own, and an ordinary user is root among its subordinate ids.

``enter`` is called once, at the start of a command that mounts, while the process has a single thread. What is mounted
afterwards dies with the last process of the namespace, so that a killed command leaks no mount.
"""

from __future__ import annotations

import errno
import os

from cais.errors import CaisError, Denied, Unavailable, Unsupported, from_os_error
from cais.host import syscalls
from cais.spec.named import NamedTuple

_POWERLESS_ROOT_HINT = (
    "Builds without RUN work. To run something, give this container CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN or "
    "--privileged; Kubernetes: securityContext.privileged)."
)
_UIDMAP_HINT = "Install the package that has newuidmap and newgidmap (Debian: uidmap)."
_NO_NAMESPACE_HINT = (
    "Builds without RUN work. To run something, be root, or allow it: sysctl kernel.unprivileged_userns_clone=1 "
    "user.max_user_namespaces=15000 (and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0)."
)


class Namespaces(NamedTuple):
    """Where this process stands after ``enter``. ``warning`` is one line for the user, or ""."""

    user_namespace: bool
    id_count: int
    warning: str = ""


# By mount namespace: what was entered is a fact of the process, and no value of ours could hold it better. A thread
# that was there before ``enter`` is still outside, and is not found here.
_entered: dict[str, Namespaces] = {}


def entered() -> Namespaces | None:
    """What ``enter`` has done to this thread, or None before it was called."""
    return _entered.get(_mount_namespace()) if _entered else None


def _mount_namespace() -> str:
    try:
        return os.readlink("/proc/thread-self/ns/mnt")
    except OSError:
        return ""


def enter(join: int = -1) -> Namespaces:
    """Puts this process in a private mount namespace, and first in a user namespace where it is not root.

    ``join``: a user namespace, as a descriptor, that an ordinary user enters instead of making one: what runs in it can
    be reached then. Where it is none of this user's, a new one is made. Calling it again does nothing. Raises Denied
    where the host forbids it.
    """
    known = entered()
    if known is not None:
        return known
    if has_mount_rights():
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
        except OSError as error:
            raise from_os_error(error, "make a private mount namespace")
        state = Namespaces(in_user_namespace(), mapped_ids())
    elif os.geteuid() == 0:
        # A user namespace would have this one id, and could not be left for the files of others that root has made.
        raise Denied("this process is root without the right to mount (CAP_SYS_ADMIN)", hint=_POWERLESS_ROOT_HINT)
    elif join >= 0 and _join_user_namespace(join):
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
        except OSError as error:
            raise from_os_error(error, "make a private mount namespace")
        state = Namespaces(True, mapped_ids())
    else:
        state = _enter_user_namespace()
    try:
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        # Nothing shared can leak from a root that is no mount point (a chroot): it has no propagation to change.
        if error.errno != errno.EINVAL:
            raise from_os_error(error, "make the mounts of this process private")
    _entered[_mount_namespace()] = state
    return state


def has_mount_rights() -> bool:
    """Whether this process may mount as it is: effective CAP_SYS_ADMIN, which root in a container often lacks."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"CapEff:"):
                return bool(int(line[7:], 16) >> 21 & 1)
    return False


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than the host's first."""
    try:
        with open("/proc/self/uid_map", "rb") as lines:
            return lines.read().split() != [b"0", b"0", b"4294967295"]
    except FileNotFoundError:
        return False


def mapped_ids() -> int:
    """How many user ids exist in this user namespace."""
    try:
        with open("/proc/self/uid_map", "rb") as lines:
            return sum(int(line.split()[2]) for line in lines)
    except FileNotFoundError:
        return 1 << 32


def subordinate_ranges(path: str, name: str, user_id: int) -> list[tuple[int, int]]:
    """``(first, count)`` of each range in subuid(5) or subgid(5) at ``path`` for a user. Bad lines are skipped."""
    ranges = []
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                owner, _, rest = line.strip().partition(":")
                first, _, count = rest.partition(":")
                if owner in (name, str(user_id)) and owner and first.isdigit() and count.isdigit() and int(count):
                    ranges.append((int(first), int(count)))
    except OSError:
        return []
    return ranges


def map_arguments(own_id: int, ranges: list[tuple[int, int]]) -> list[str]:
    """The arguments of newuidmap behind the pid: 0 is the user's own id, the subordinate ids follow from 1."""
    arguments = ["0", str(own_id), "1"]
    inside = 1
    for first, count in ranges:
        arguments += [str(inside), str(first), str(count)]
        inside += count
    return arguments


class _Ids(NamedTuple):
    """What this user has of subordinate ids, and the programs that map them. ``warning``: why there are none, or ""."""

    programs: tuple[str, str]
    user_ranges: list[tuple[int, int]]
    group_ranges: list[tuple[int, int]]
    warning: str


def _ids(user_id: int) -> _Ids:
    import pwd

    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = ""
    user_ranges = subordinate_ranges("/etc/subuid", name, user_id)
    group_ranges = subordinate_ranges("/etc/subgid", name, user_id)
    programs = _program("newuidmap"), _program("newgidmap")
    warning = ""
    if not all(programs):
        warning = f"newuidmap is not installed: only one user id exists in containers and builds. {_UIDMAP_HINT}"
    elif not user_ranges or not group_ranges:
        who = name or str(user_id)
        warning = (
            f"{who} has no range in /etc/subuid and /etc/subgid: only one user id exists in containers and builds. "
            f"Add one: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}"
        )
    return _Ids(programs, user_ranges, group_ranges, warning)


def shortage() -> str:
    """What ``enter`` would lack here, in one line with what would help: the right to do it, or ids; or ""."""
    state = entered()
    if state is not None:
        return state.warning
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                text = enter().warning
            except CaisError as error:
                text = f"{error.message}. {error.hint}".strip()
            os.write(write, text.encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def _wait_for_ended_threads(timeout_seconds: float = 1.0) -> None:
    """A thread that was joined may still be ending in the kernel, which then refuses as if it went on."""
    import sys
    import time

    threading = sys.modules.get("threading")
    if threading is None or threading.active_count() > 1:
        return
    end = time.monotonic() + timeout_seconds
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        os.sched_yield()


def _enter_user_namespace() -> Namespaces:
    user_id, group_id = os.geteuid(), os.getegid()
    programs, user_ranges, group_ranges, warning = _ids(user_id)
    mapper = None if warning else _Mapper(programs, user_id, group_id, user_ranges, group_ranges)
    _wait_for_ended_threads()
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError as error:
        if mapper is not None:
            mapper.cancel()
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS):
            raise Denied("this host does not let an ordinary user make a user namespace", hint=_NO_NAMESPACE_HINT)
        if error.errno == errno.EINVAL:
            raise Unsupported(
                "an ordinary user's process that has several threads cannot enter a user namespace",
                hint="Use the engine before other threads are started, or run as root.",
            )
        raise from_os_error(error, "make a user namespace")
    if mapper is not None:
        mapper.finish()
    else:
        _map_single(user_id, group_id)
    return Namespaces(True, mapped_ids(), warning)


def _join_user_namespace(descriptor: int) -> bool:
    try:
        _wait_for_ended_threads()
        syscalls.setns(descriptor, syscalls.CLONE_NEWUSER)
    except OSError:
        return False
    return True


def _map_single(user_id: int, group_id: int) -> None:
    try:
        for path, text in (
            ("/proc/self/setgroups", "deny"),
            ("/proc/self/uid_map", f"0 {user_id} 1"),
            ("/proc/self/gid_map", f"0 {group_id} 1"),
        ):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
    except OSError as error:
        raise from_os_error(error, "map a user id into the user namespace")


class _Mapper:
    """A child that stays outside, and runs newuidmap and newgidmap on its parent when told to."""

    def __init__(
        self,
        programs: tuple[str, str],
        user_id: int,
        group_id: int,
        user_ranges: list[tuple[int, int]],
        group_ranges: list[tuple[int, int]],
    ) -> None:
        go_read, self._go = os.pipe()
        self._answer, answer_write = os.pipe()
        parent = str(os.getpid())
        commands = (
            [programs[0], parent, *map_arguments(user_id, user_ranges)],
            [programs[1], parent, *map_arguments(group_id, group_ranges)],
        )
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                os.close(self._go)
                if os.read(go_read, 1) == b"+":
                    os.dup2(answer_write, 2)
                    status = 0
                    for command in commands:
                        child = os.posix_spawn(command[0], command, {})
                        status = status or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            finally:
                os._exit(1 if status else 0)
        os.close(go_read)
        os.close(answer_write)

    def cancel(self) -> None:
        os.close(self._go)
        os.close(self._answer)
        os.waitpid(self._child, 0)

    def finish(self) -> None:
        """Raises Unavailable with what newuidmap said."""
        os.write(self._go, b"+")
        os.close(self._go)
        said = b""
        while piece := os.read(self._answer, 4096):
            said += piece
        os.close(self._answer)
        if os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1]) != 0:
            text = said.decode("utf-8", "replace").strip() or "it failed without a word"
            raise Unavailable(
                f"cannot map the user ids of /etc/subuid and /etc/subgid: {text}",
                hint="Check that newuidmap and newgidmap are set-uid root and that the ranges are yours.",
            )


def _program(name: str) -> str:
    # The environment belongs to the doors, and set-uid programs stand in the system's own directories.
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""
