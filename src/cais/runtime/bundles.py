"""Bundles: the directory of each run, whose it is, and what the OCI runtime has noted of what runs in it.

Starts nothing. A bundle belongs to the process that made it, or took it over: one whose owner is gone is a leftover.
"""

from __future__ import annotations

import os
import time

from cais.errors import from_os_error
from cais.host import process_files
from cais.host.files import random_name
from cais.host.processes import ProcessName, boot_id, is_alive
from cais.spec.encoding import decode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A directory without an owner is younger than this while somebody makes it.
_MAKING_SECONDS = 10
# A link in a bundle that names the OCI runtime its run asked for.
_PROGRAM = "runtime"


class Bundle(NamedTuple):
    """A directory for one run. ``rootfs`` is where its root file system is mounted.

    ``state_directory``: where the runtime keeps this run's state, if not where it keeps all (``runtime.private``).
    ``program``: the OCI runtime that this run asked for, by name or path, or "".
    """

    id: str
    directory: str
    rootfs: str
    state_directory: str = ""
    program: str = ""


class Note(NamedTuple):
    """What the runtime has noted of a container: its first process, and its control group (``cgroup_files``)."""

    process: ProcessName
    group: str


def read_configuration(bundle: str) -> dict[str, Any] | None:
    """The spec that a run was started with, from the directory of its bundle; None where it has ended."""
    try:
        with open(os.path.join(bundle, "config.json"), "rb") as file:
            value = decode(file.read())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


class Bundles:
    """The bundles of one root directory, and what the OCI runtime keeps of them in ``state_directory``."""

    def __init__(self, root: str) -> None:
        self.directory = os.path.join(root, "run")
        self.state_directory = os.path.join(self.directory, ".state")
        self._of_this_boot: bool | None = None

    def bundle(self, id: str = "", program: str = "") -> Bundle:
        """A new directory with an empty ``rootfs``. ``program``: as in ``Bundle``. Raises Unavailable, Denied."""
        id = id or random_name(16)
        directory = os.path.join(self.directory, id)
        try:
            os.makedirs(self.state_directory, 0o700, exist_ok=True)
            if not self.is_of_this_boot:
                from cais.runtime import boots

                boots.claim(self.directory, self.state_directory)
                self._of_this_boot = True
            os.mkdir(directory, 0o700)
            os.mkdir(os.path.join(directory, "rootfs"), 0o755)
            process_files.note(os.path.join(directory, "owner"), os.getpid())
            if program:
                os.symlink(program, os.path.join(directory, _PROGRAM))
        except OSError as error:
            raise from_os_error(error, "make a bundle")
        return Bundle(id, directory, os.path.join(directory, "rootfs"), program=program)

    @property
    def is_of_this_boot(self) -> bool:
        """Whether what is noted here may still run."""
        if self._of_this_boot is None:
            from cais.runtime import boots

            self._of_this_boot = boots.is_current(self.directory)
        return self._of_this_boot

    def remove(self, bundle: Bundle) -> None:
        """Unmounts its root file system and removes the directory."""
        from cais.runtime.guardian import remove_bundle

        remove_bundle(bundle.directory)

    def process(self, bundle: Bundle) -> ProcessName | None:
        """The first process inside, while it lives."""
        noted = self.note(bundle)
        return noted.process if noted is not None and is_alive(noted.process) else None

    def note(self, bundle: Bundle) -> Note | None:
        """The runtime's own record of what runs, or ran, in ``bundle``; None for what ran before a reboot."""
        if not self.is_of_this_boot:
            return None
        return read_note(bundle.state_directory or self.state_directory, bundle.id)

    def opened(self, id: str) -> Bundle:
        """The bundle of a run that another process started."""
        directory = os.path.join(self.directory, id)
        try:
            program = os.fsdecode(os.readlink(os.path.join(directory, _PROGRAM)))
        except OSError:
            program = ""  # most have none of their own
        return Bundle(id, directory, os.path.join(directory, "rootfs"), program=program)

    def leftovers(self, keep: frozenset[str] = frozenset()) -> list[Bundle]:
        """Bundles whose owner is gone, but for those in ``keep`` (detached containers)."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        return [
            self.opened(name)
            for name in names
            if not name.startswith(".")
            and name not in keep
            and not self._is_being_made(name)
            and not self.is_owned(name)
        ]

    def _is_being_made(self, id: str) -> bool:
        """Whether a bundle has no owner yet; a killed command's never gets one."""
        directory = os.path.join(self.directory, id)
        try:
            return not os.path.exists(os.path.join(directory, "owner")) and (
                time.time() - os.stat(directory).st_mtime < _MAKING_SECONDS
            )
        except FileNotFoundError:
            return True  # it was just removed

    def start_pipe(self, bundle: Bundle) -> str:
        """What the first process of ``bundle`` waits at until it is started, and that is there for just so long."""
        return os.path.join(bundle.state_directory or self.state_directory, bundle.id, "exec.fifo")

    def waits_for_start(self, bundle: Bundle) -> bool:
        """Whether the runtime has made the container of ``bundle``, and nobody has started it."""
        return os.path.exists(self.start_pipe(bundle))

    def hand_over(self, bundle: Bundle, pid: int) -> None:
        """The bundle's owner is another process from now on: one that will note how the container ended."""
        try:
            process_files.note(os.path.join(bundle.directory, "owner"), pid)
        except OSError as error:
            raise from_os_error(error, "note the owner of a bundle")

    def is_owned(self, id: str) -> bool:
        """Whether there is a bundle of ``id``, and the process that made it, or took it over, lives."""
        return process_files.find(os.path.join(self.directory, id, "owner")) is not None

    def owned(self) -> frozenset[str]:
        """The ids of all bundles that were owned when this looked (``is_owned``)."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return frozenset()
        boot = boot_id()
        return frozenset(
            name
            for name in names
            if not name.startswith(".")
            and process_files.find(os.path.join(self.directory, name, "owner"), boot) is not None
        )


def read_note(state_directory: str, id: str) -> Note | None:
    """The runtime's own record of a container, or None where it has none. Starts nothing."""
    for name, pid_key, start_key in (
        ("status", "pid", "process-start-time"),
        ("state.json", "init_process_pid", "init_process_start"),
    ):
        try:
            with open(os.path.join(state_directory, id, name), "rb") as file:
                state = decode(file.read())
            process = ProcessName(int(state[pid_key]), int(state[start_key]))
            if name == "status":
                return Note(process, str(state.get("cgroup-path") or ""))
            groups = state.get("cgroup_paths") or {}
            return Note(process, str(groups.get("freezer") or groups.get("") or ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None
