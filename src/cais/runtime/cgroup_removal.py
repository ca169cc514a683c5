"""Control groups that are to go although somebody is still in them, and those that killed commands have left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection

from cais.host.processes import send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

ROOT = "/sys/fs/cgroup"
PARENT = "/cais"
_END_SECONDS = 5.0
_STEP_SECONDS = 0.005
# An empty group is younger than this while a runtime is about to put a process into it.
_MAKING_SECONDS = 10


def hierarchies() -> list[str]:
    """The directories in which groups are: the second version's, or one for each controller of the first."""
    try:
        names = os.listdir(ROOT)
    except OSError:
        return []
    return [ROOT, *(path for name in sorted(names) if os.path.isdir(path := f"{ROOT}/{name}"))]


def remove(paths: Collection[str]) -> bool:
    """Kills what is in these groups (directories) and in those below, and removes them. Whether they are gone."""
    end = time.monotonic() + _END_SECONDS
    rest = [path for path in paths if not _removed(path)]
    while rest and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)  # what is killed has yet to end
        rest = [path for path in rest if not _removed(path)]
    return not rest


def _removed(path: str) -> bool:
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            _end(directory)
    return not os.path.isdir(path)


def _end(group: str) -> None:
    for pid in _members(group):
        try:
            send_signal(pid, signal.SIGKILL)
        except OSError:
            continue  # another user's
    for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        try:
            descriptor = os.open(f"{group}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            continue  # of another hierarchy
        try:
            os.write(descriptor, word.encode())  # what stands still does not end either
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _members(group: str) -> list[int]:
    try:
        with open(f"{group}/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]
    except (OSError, ValueError):
        return []


def leftovers(root: str, is_kept: Callable[[str], bool]) -> dict[str, list[str]]:
    """Groups (directories) by the id of their run: of runs that are not kept, so that nobody would remove them.

    Several root directories have their groups side by side. So one is left over where nobody has been in it for a
    while, or those in it have a file system of the root directory ``root``.
    """
    found: dict[str, list[str]] = {}
    for hierarchy in hierarchies():
        try:
            names = os.listdir(hierarchy + PARENT)
        except OSError:
            continue
        for name in names:
            path = f"{hierarchy}{PARENT}/{name}"
            if os.path.isdir(path):
                found.setdefault(name, []).append(path)
    # Asked now: whoever makes a group has its bundle before, and has it longer.
    return {id: paths for id, paths in found.items() if not is_kept(id) and _is_left(root, paths)}


def _is_left(root: str, paths: Collection[str]) -> bool:
    below = os.fsencode(root) + b"/"
    pids = {pid for path in paths for directory, _, _ in os.walk(path) for pid in _members(directory)}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/mountinfo", "rb") as file:
                if below in file.read():
                    return True
        except OSError:
            continue
    try:
        return not pids and time.time() - max(os.stat(path).st_mtime for path in paths) > _MAKING_SECONDS
    except OSError:
        return False  # it is being removed
