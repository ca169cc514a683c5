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
from cais.host.processes import ProcessName, boot_id, send_signal, start_ticks
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
            if self.process() is None and not beside:
                from cais.host.locks import FileLock

                with FileLock(self._path + ".lock"):
                    if self.process() is None:
                        namespaces.enter(self._survivor())
                        self._start()
        except OSError as error:
            raise from_os_error(error, f"use {self._path}")
        found = (
            process_files.find(os.path.join(self._directory, beside, "owner")) if beside else None
        ) or self.process()
        namespaces.enter(0 if found is None else found.pid)

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
            if found is not None and not self._survivor():
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

    def _survivor(self) -> int:
        """The pid of a process that belongs to a running container, or 0."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return 0
        for name in names:
            owner = None if name.startswith(".") else process_files.find(os.path.join(self._directory, name, "owner"))
            if owner is not None and owner.pid != os.getpid():
                return owner.pid
        return 0

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
