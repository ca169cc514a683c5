"""Where a peer lives: a mount and a network namespace of its own, and perhaps another root directory.

A peer's daemon, its bridges and its packet filter rules then touch nothing of the machine, and everything ends with the
processes that were started here. A command is started in its place by fork, setns and exec: the same cost for each.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import time
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
END_SECONDS = 30.0
MS_BIND, MS_REC, MS_SLAVE, MNT_DETACH = 4096, 16384, 1 << 19, 2


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _mount(source: str, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode(), target.encode(), None, flags, None), f"mount {source} at {target}")


class Outcome(NamedTuple):
    """How a command ended."""

    exit_code: int
    seconds: float
    peak_memory_bytes: int
    output: bytes

    def ok(self) -> Outcome:
        """This, or an error that shows what the command printed."""
        if self.exit_code != 0:
            raise RuntimeError(f"exit code {self.exit_code}:\n{self.output.decode(errors='replace')[-3000:]}")
        return self


class Place:
    """A process that holds a mount and a network namespace; with ``root``, the root directory of another system."""

    def __init__(self, root: str = "/", shared: tuple[str, ...] = ()) -> None:
        self.root = root
        ready, told = os.pipe()
        self.holder = os.fork()
        if self.holder == 0:
            status = 1
            try:
                os.close(ready)
                self._move_in(shared)
                os.write(told, b"1")
                status = 0
                while True:
                    signal.pause()
            except BaseException as error:
                os.write(2, f"bench: {error}\n".encode())
            finally:
                os._exit(status)
        os.close(told)
        arrived = os.read(ready, 1)
        os.close(ready)
        if not arrived:
            raise OSError(f"no namespaces of their own for a peer in {root}")

    def _move_in(self, shared: tuple[str, ...]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
        _mount("none", "/", MS_REC | MS_SLAVE)
        # crun refuses hybrid cgroups as long as it sees the second hierarchy
        _libc.umount2(b"/sys/fs/cgroup/unified", MNT_DETACH)
        if self.root != "/":
            for path in ("/proc", "/sys", "/dev", *shared):
                os.makedirs(self.root + path, exist_ok=True)
                _mount(path, self.root + path, MS_BIND | MS_REC)
            # Some programs refuse to pivot_root out of a directory that is no mount point.
            _mount(self.root, self.root, MS_BIND | MS_REC)
            os.chroot(self.root)
            os.chdir("/")
        # Private: /run holds sockets and locks of the machine's own container tools.
        _check(_libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None), "mount /run")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))

    def enter(self) -> None:
        """Move the calling (forked) process here."""
        root = os.open(f"/proc/{self.holder}/root", os.O_RDONLY)
        for kind, name in ((CLONE_NEWNET, "net"), (CLONE_NEWNS, "mnt")):
            handle = os.open(f"/proc/{self.holder}/ns/{name}", os.O_RDONLY)
            _check(_libc.setns(handle, kind), f"setns {name}")
            os.close(handle)
        os.fchdir(root)
        os.chroot(".")
        os.close(root)

    def leave(self) -> None:
        """End the holder; the namespaces go with their last process."""
        os.kill(self.holder, signal.SIGKILL)
        os.waitpid(self.holder, 0)


class Network:
    """The network of a place, under this machine's own root directory."""

    def __init__(self, place: Place) -> None:
        self._path = f"/proc/{place.holder}/ns/net"

    def enter(self) -> None:
        """Move the calling (forked) process there."""
        handle = os.open(self._path, os.O_RDONLY)
        _check(_libc.setns(handle, CLONE_NEWNET), "setns net")
        os.close(handle)


def start(argv: list[str], place: Place | Network | None, env: dict[str, str], output: str, cwd: str = "/") -> int:
    """Start a command in its place with its output in a file; its process id."""
    child = os.fork()
    if child:
        return child
    try:  # whatever comes, an interrupt too: what is the parent's is not done here
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        empty = os.open("/dev/null", os.O_RDONLY)
        if place is not None:
            place.enter()
        os.chdir(cwd)
        os.dup2(empty, 0)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(2, f"bench: {argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def end(child: int) -> None:
    """Have a command that was started end, and wait for that; one that has ended and was waited for is no error."""
    try:
        os.kill(child, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.02)
    except (ProcessLookupError, ChildProcessError):
        pass


def timed(argv: list[str], place: Place | None, env: dict[str, str], output: str, cwd: str = "/") -> Outcome:
    """Run a command in its place; wall time from before the fork until it was waited for."""
    started = time.perf_counter()
    child = start(argv, place, env, output, cwd)
    try:
        _, status, usage = os.wait4(child, 0)
    except BaseException:
        end(child)
        raise
    seconds = time.perf_counter() - started
    with open(output, "rb") as file:
        said = file.read()
    return Outcome(os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss * 1024, said)
