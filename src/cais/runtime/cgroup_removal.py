"""Control groups that are to go although somebody is still in them, and those that killed commands have left."""

from __future__ import annotations

import os
import time

from cais.host.processes import send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

ROOT = "/sys/fs/cgroup"
PARENT = "/cais"
_END_SECONDS = 5.0
_STEP_SECONDS = 0.005
# An empty group is younger than this while a runtime is about to put a process into it.
_MAKING_SECONDS = 10


def hierarchies() -> list[str]:
    """The directories in which groups are: the second version's, or one for each controller of the first.

    Where another file system is mounted over one, to hide it from a runtime, there are plain directories in its place,
    which nothing ever leaves.
    """
    try:
        names = os.listdir(ROOT)
    except OSError:
        return []
    paths = (ROOT, *(f"{ROOT}/{name}" for name in sorted(names)))
    return [path for path in paths if os.path.exists(f"{path}/cgroup.procs")]


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
    for pid in _members([group]):
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


def _members(paths: Collection[str]) -> set[int]:
    """The processes in groups, and in those below."""
    found: set[int] = set()
    for path in paths:
        for directory, _, _ in os.walk(path):
            try:
                with open(f"{directory}/cgroup.procs", encoding="utf-8") as file:
                    found.update(int(line) for line in file)
            except (OSError, ValueError):
                continue
    return found


def leftovers(root: str, is_kept: Callable[[str], bool]) -> dict[str, list[str]]:
    """Groups (directories) by the id of their run: of runs that are not kept, with processes that have a file system
    of the root directory ``root``. Several root directories have their groups side by side."""
    below = os.fsencode(root) + b"/"
    found = _groups()
    # Asked now: whoever makes a group has its bundle before, and has it longer.
    return {id: paths for id, paths in found.items() if not is_kept(id) and _has_process_of(below, paths)}


def remove_empty() -> None:
    """Removes the groups that nobody has been in for a while, whoever's they were: a run has processes as long as it
    has groups."""
    for paths in _groups().values():
        try:
            age = time.time() - max(os.stat(path).st_mtime for path in paths)
        except OSError:
            continue  # it is being removed
        if age > _MAKING_SECONDS and not _members(paths):
            remove(paths)


def _groups() -> dict[str, list[str]]:
    """The groups (directories) of all runs, by their ids."""
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
    return found


def _has_process_of(below: bytes, paths: Collection[str]) -> bool:
    for pid in _members(paths):
        try:
            with open(f"/proc/{pid}/mountinfo", "rb") as file:
                if below in file.read():
                    return True
        except OSError:
            continue
    return False
