"""Processes: named by pid and start time (a pid alone is used again), waited for, killed, and watched over."""

from __future__ import annotations

import errno
import os

from cais.host.files import read_small
from cais.spec.named import NamedTuple

_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec")

_PF_EXITING = 0x4

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start


class ProcessName(NamedTuple):
    """``start_ticks``: when it started, in clock ticks since boot. Only within one boot."""

    pid: int
    start_ticks: int


def start_ticks(pid: int) -> int | None:
    """proc(5), stat, field 22; None where there is no such process or it is dead and not yet waited for."""
    try:
        fields = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def children(pid: int) -> list[ProcessName]:
    """The processes whose parent is ``pid``, by a look at all of them."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(ProcessName(int(name), int(fields[19])))
    return found


def is_alive(process: ProcessName) -> bool:
    return start_ticks(process.pid) == process.start_ticks


def is_ending(process: ProcessName) -> bool:
    """Whether it is dead, or dying: the first of a pid namespace stays until all others there are gone, killed with it.

    proc(5), stat, field 9: PF_EXITING.
    """
    try:
        with open(f"/proc/{process.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return True
    return bool(int(fields[6]) & _PF_EXITING) or int(fields[19]) != process.start_ticks


def boot_id() -> str:
    """Another after each boot of this host."""
    try:
        return read_small("/proc/sys/kernel/random/boot_id").decode().strip()
    except OSError:
        return ""


def send_signal(pid: int, number: int, started: int | None = None) -> bool:
    """Sends a signal to exactly that process. False when it is gone. Raises OSError where it is forbidden."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    try:
        if started is not None and start_ticks(pid) != started:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except PermissionError:
            if os.geteuid() != 0:
                raise
            _send_as_its_user(descriptor, pid, number)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def _send_as_its_user(descriptor: int, pid: int, number: int) -> None:
    """Sends a signal from a child with the target's user id; raises OSError.

    In a user namespace root's power ends: a process in another one, made by another command of the same user, can be
    reached by those alone who have its user id. Both namespaces map the same subordinate ids.
    """
    user_id = _real_user_id(pid)
    child = os.fork()
    if child == 0:
        code = errno.EPERM
        try:
            os.setresuid(user_id, user_id, user_id)
            signal.pidfd_send_signal(descriptor, number)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    code = wait(child)
    if code:
        raise OSError(code, os.strerror(code))


def _real_user_id(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except FileNotFoundError:
        pass
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def kill_family(pid: int, started: int | None = None) -> bool:
    """Kills a process and its children; False when it is gone. It is stopped first, so that none is born meanwhile."""
    if not send_signal(pid, signal.SIGSTOP, started):
        return False
    for child in children(pid):
        send_signal(child.pid, signal.SIGKILL, child.start_ticks)
    return send_signal(pid, signal.SIGKILL, started)


def kill_all_given(argument: str) -> None:
    """Kills the processes that have ``argument`` in their command line, as it is."""
    wanted = os.fsencode(argument)
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if wanted not in file.read().split(b"\0"):
                    continue
            send_signal(int(name), signal.SIGKILL, start_ticks(int(name)))
        except OSError:
            continue  # it has ended, or is another user's


def wait(pid: int) -> int:
    """The exit code of a child; 128 and the number of the signal that killed it."""
    while True:
        try:
            status = os.waitpid(pid, 0)[1]
        except InterruptedError:
            continue
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def wait_gone(pid: int, started: int, timeout_seconds: float) -> bool:
    """Waits for a process that is no child; False when it is still there after ``timeout_seconds``."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return True
        raise
    try:
        if start_ticks(pid) != started:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(int(timeout_seconds * 1000)))
    finally:
        os.close(descriptor)


def detached(action: Callable[[], object]) -> None:
    """Does ``action`` in a process that nobody waits for: the kernel may take its time. What it raises is lost."""
    child = os.fork()
    if child:
        wait(child)
        return
    try:
        if os.fork() == 0:
            action()
    finally:
        os._exit(0)


def find_program(name: str) -> str:
    """The path of an installed program in the system's directories, or ""."""
    for directory in _DIRECTORIES:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""


def leave_to_cat(descriptors: tuple[int, ...]) -> None:
    """Somebody reads ``descriptors`` when this process has left: what arrives goes nowhere, by a small process each."""
    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for descriptor in descriptors:
            os.set_blocking(descriptor, True)
            places = ((descriptor, 0), (null, 1), (null, 2))
            actions = [(os.POSIX_SPAWN_DUP2, source, place) for source, place in places]
            os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=actions, setsid=True)
    except OSError:
        pass  # a host without cat: who writes sees that nobody reads
    finally:
        os.close(null)
