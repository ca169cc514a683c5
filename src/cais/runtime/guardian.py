"""The guardian: a small child of each process that runs things in the foreground, and outlives it only to clean up.

A runtime that is killed leaves its container running. So the process that started it tells its guardian, over a pipe,
what runs; when the pipe ends without the word that it is over, the guardian kills it and removes its bundle.
"""

from __future__ import annotations

import os

from cais.host import syscalls
from cais.host.processes import kill_family
from cais.spec.encoding import decode

# In a bundle, where it has such: a directory in memory, and in it the runtime's notes on this run alone.
PRIVATE = "private"
# How the names begin on which something else is mounted: parts of volumes, images.
VIEW = "view."
PRIVATE_STATE = "state"
# In a bundle, where it has such: its network namespace, mounted on a file. Whoever serves it ends with the file.
NETWORK = "netns"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start


class Guardian:
    """Forked when first needed. ``bundle`` is the directory that ``runner`` made; its ``pid`` is what gets killed."""

    def __init__(self, runtime: str, state_directory: str) -> None:
        self._delete = (runtime, "--root", state_directory, "delete", "--force")
        self._pipe = -1
        self._child = -1

    def watch(self, id: str, bundle: str) -> None:
        """From now on ``id`` dies with this process."""
        if self._pipe < 0:
            self.close()
            self._start()
        os.write(self._pipe, f"+{id}\0{bundle}\n".encode("utf-8", "surrogateescape"))

    def forget(self, id: str) -> None:
        """``id`` has ended."""
        if self._pipe >= 0:
            os.write(self._pipe, f"-{id}\n".encode())

    def let_go(self) -> None:
        """It ends, and does nothing more where all was forgotten; ``close`` waits for that."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def close(self) -> None:
        """As ``let_go``, until it has ended."""
        self.let_go()
        if self._child >= 0:
            os.waitpid(self._child, 0)
            self._child = -1

    def _start(self) -> None:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _guard(read, self._delete)
            finally:
                os._exit(0)
        os.close(read)
        self._pipe, self._child = write, child


def _guard(pipe: int, delete: tuple[str, ...]) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
    # Nothing of the parent's may stay open here: locks would seem held, and pipes would not end.
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.dup2(pipe, 3)
    os.closerange(4, 1 << 20)
    watched: dict[str, str] = {}
    rest = b""
    while piece := os.read(3, 65536):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            id, _, bundle = line[1:].decode("utf-8", "surrogateescape").partition("\0")
            if line.startswith(b"+"):
                watched[id] = bundle
            else:
                watched.pop(id, None)
    for id, bundle in watched.items():
        end(id, bundle, delete)


def end(id: str, bundle: str, delete: tuple[str, ...]) -> None:
    """Kills what runs in ``bundle``, has the runtime forget it, and removes the bundle.

    A runtime that has not yet noted what it started is stopped, so that nothing starts any more, and its children are
    found by their parent.
    """
    try:
        with open(os.path.join(bundle, "runtime.pid"), encoding="utf-8") as file:
            pid, started = (int(word) for word in file.read().split())
        kill_family(pid, started)
    except (OSError, ValueError):
        pass
    state = os.path.join(bundle, PRIVATE, PRIVATE_STATE)
    if os.path.isdir(state):
        delete = (delete[0], "--root", state, *delete[3:])
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    quiet = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
    try:
        deleting = os.posix_spawn(delete[0], [*delete, id], {}, file_actions=quiet)
        os.waitpid(deleting, 0)
    except OSError:
        pass
    os.close(null)
    remove_cgroups(bundle)
    remove_bundle(bundle)


def remove_cgroups(bundle: str) -> None:
    """Removes the control groups of ``bundle``, which a runtime leaves that was killed before it had noted them.

    With what is in them: processes of a pid namespace that is not the container's own outlive its first one.
    """
    path = f"/cais/{os.path.basename(bundle)}"
    try:
        with open(os.path.join(bundle, "config.json"), "rb") as file:
            path = decode(file.read())["linux"]["cgroupsPath"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from cais.runtime import cgroup_removal

    cgroup_removal.remove([hierarchy + path for hierarchy in cgroup_removal.hierarchies()])


# What may be mounted in a bundle: the root file system, what is private of it, another container's /dev/shm.
SHM = "shm"
_MOUNT_POINTS = ("rootfs", PRIVATE, SHM)


def remove_bundle(bundle: str) -> None:
    """Removes a bundle and nothing of what may still be mounted in it."""
    try:
        views = [name for name in os.listdir(bundle) if name.startswith(VIEW)]
    except OSError:
        views = []
    points = [os.path.join(bundle, name) for name in (*_MOUNT_POINTS, *views)]
    network = os.path.join(bundle, NETWORK)
    for path in (network, *points):
        try:
            for _ in range(16):
                syscalls.umount(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        except OSError:
            pass
    try:
        # First: of several events that come at once, pasta sees one.
        os.unlink(network)
    except OSError:
        pass
    try:
        for name in os.listdir(bundle):
            if name not in _MOUNT_POINTS and name not in views:
                os.unlink(os.path.join(bundle, name))
    except OSError:
        pass
    for path in (*points, bundle):
        try:
            os.rmdir(path)
        except NotADirectoryError:
            os.unlink(path)
        except OSError:
            pass
