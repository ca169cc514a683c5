"""What the kernel says of a container's control group: whether it stands still, and whether memory ran out in it.

A group is named by its path in each hierarchy (crun) or by a directory (runc); "" where this user may not have groups.
"""

from __future__ import annotations

_ROOT = "/sys/fs/cgroup"


def is_frozen(group: str) -> bool:
    """Whether its processes are paused."""
    if not group:
        return False
    state = _first(group, "freezer", "freezer.state", "cgroup.freeze")
    return state.strip() in ("FROZEN", "FREEZING", "1")


def out_of_memory(group: str) -> bool:
    """Whether the kernel killed something in it because its memory was used up. The group must still be there."""
    if not group:
        return False
    for line in _first(group, "memory", "memory.oom_control", "memory.events").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return count.strip() not in ("", "0")
    return False


def _first(group: str, controller: str, legacy_file: str, unified_file: str) -> str:
    if group.startswith(_ROOT):
        group = group.removeprefix(_ROOT).removeprefix(f"/{controller}")
    for path in (f"{_ROOT}/{controller}{group}/{legacy_file}", f"{_ROOT}{group}/{unified_file}"):
        try:
            with open(path, encoding="ascii") as file:
                return file.read(4096)
        except OSError:
            continue
    return ""
