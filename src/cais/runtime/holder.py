"""The holder: what an ordinary user's containers share as long as one of them runs.

The user namespaces of two commands are strangers to each other: one's root has no power over the other's processes,
mounts and networks. So all commands of a root directory that have to do with containers enter the same user namespace.
A process that only sleeps keeps it, and a network namespace in which this user's bridges are. Its name stands in
``run/.holder``; it is started with the first container, started anew where it was killed (in the same user namespace,
as long as a container runs in that), and ended after the last one. root needs nothing of this.
"""

from __future__ import annotations

import fcntl
import os

from cais.errors import from_os_error
from cais.host import namespaces, process_files, syscalls
from cais.host.processes import ProcessName, boot_id, is_alive, send_signal, start_ticks
from cais.runtime.find import find_program

_NAME = ".holder"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start


class Holder:
    """The holder of one root directory; ``directory`` is the runtime's (``run``).

    While a command has a ``Holder`` entered, nobody ends the holder: a shared lock on its file says so.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, _NAME)
        self._lock = -1

    def enter(self, beside: str = "") -> None:
        """Enters the common user namespace, which is made where there is none. Raises Denied.

        ``beside``: the id of a running container, whose user namespace it has to be in any case. root enters a mount
        namespace of its own.
        """
        if namespaces.entered() is not None:
            return
        if namespaces.has_mount_rights() or os.geteuid() == 0:
            if os.path.exists(self._path):
                self._hold()  # what conmon calls after an end is in the user namespace already
            namespaces.enter()
            return
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._hold()
            space = self._beside(beside) if beside else self._common()
        except OSError as error:
            raise from_os_error(error, f"use {self._path}")
        _enter(space)

    def _common(self) -> int:
        """The common user namespace, as a descriptor, or -1 where this process has entered it on the way.

        A holder that is killed meanwhile is started again.
        """
        from cais.host.locks import FileLock

        while True:
            found = self.process()
            if found is not None:
                space = _user_namespace(found)
                if space >= 0 or is_alive(found):
                    return space
                continue
            with FileLock(self._path + ".lock"):
                if self.process() is None:
                    survivor = self._survivor()
                    _enter(_user_namespace(survivor) if survivor is not None else -1)
                    self._start()
                    return -1

    def _beside(self, id: str) -> int:
        """The user namespace of a running container, else the common one where there is one; or -1."""
        found = process_files.find(os.path.join(self._directory, id, "owner")) or self.process()
        return -1 if found is None else _user_namespace(found)

    def _hold(self) -> None:
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def leave(self) -> None:
        """This command has done its work: without other commands and containers the holder ends."""
        if self._lock < 0:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = self.process()
            if found is not None and self._survivor() is None:
                send_signal(found.pid, signal.SIGKILL, found.start_ticks)
                os.ftruncate(self._lock, 0)
                os.waitpid(found.pid, 0)
        except OSError:
            pass  # it is no child of ours; or another command needs it, and ends it
        finally:
            os.close(self._lock)
            self._lock = -1

    def process(self) -> ProcessName | None:
        """The holder, while it lives."""
        return process_files.find(self._path)

    def _survivor(self) -> ProcessName | None:
        """A process that belongs to a running container."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return None
        for name in names:
            owner = None if name.startswith(".") else process_files.find(os.path.join(self._directory, name, "owner"))
            if owner is not None and owner.pid != os.getpid():
                return owner
        return None

    def _start(self) -> None:
        program = find_program("sleep")
        read, write = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                null = os.open("/dev/null", os.O_RDWR)
                for place in (0, 1, 2):
                    os.dup2(null, place)
                os.chdir("/")
                syscalls.unshare(syscalls.CLONE_NEWNET)
                os.execve(program, [program, "infinity"], {})
            except OSError as error:
                os.write(write, bytes((error.errno or 1,)))
            finally:
                os._exit(127)
        os.close(write)
        with open(read, "rb") as pipe:
            said = pipe.read()
        if said:
            os.waitpid(child, 0)
            raise OSError(said[0], os.strerror(said[0]))
        text = f"{child} {start_ticks(child)} {boot_id()}\n".encode()
        os.pwrite(self._lock, text, 0)
        os.ftruncate(self._lock, len(text))


def _user_namespace(process: ProcessName) -> int:
    """A process's, as a descriptor; -1 where it has ended, or is none of this user's."""
    try:
        return os.open(f"/proc/{process.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _enter(space: int) -> None:
    try:
        namespaces.enter(space)
    finally:
        if space >= 0:
            os.close(space)
