"""What the kernel says of a container's control group: whether it stands still, and whether memory ran out in it.

A group is named by its path in each hierarchy (crun) or by a directory (runc); "" where this user may not have groups.
"""

from __future__ import annotations

import os

_ROOT = "/sys/fs/cgroup"
_FREEZE_SECONDS = 5


def is_frozen(group: str) -> bool:
    """Whether its processes are paused."""
    if not group:
        return False
    return _read(_freezer(group)[0]).strip() in ("FROZEN", "FREEZING", "1")


def out_of_memory(group: str) -> bool:
    """Whether the kernel killed something in it because its memory was used up. The group must still be there."""
    if not group:
        return False
    relative = path_of(group)
    for path in (f"{_ROOT}/memory{relative}/memory.oom_control", f"{_ROOT}{relative}/memory.events"):
        for line in _read(path).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return count.strip() != "0"
    return False


def freeze(group: str, still: bool) -> bool:
    """Lets its processes stand still, or go on; when it returns they do. False where this cannot be had here."""
    import time

    if not group:
        return False
    path, words = _freezer(group)
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(words[still])
    except OSError:
        return False
    # A process in the kernel comes to stand a little later.
    end = time.monotonic() + _FREEZE_SECONDS
    while _read(path).strip() != words[still]:
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def _freezer(group: str) -> tuple[str, tuple[str, str]]:
    """The file that makes it stand still, and what it says: (it goes on, it stands still)."""
    relative = path_of(group)
    legacy = f"{_ROOT}/freezer{relative}/freezer.state"
    if os.path.exists(legacy):
        return legacy, ("THAWED", "FROZEN")
    return f"{_ROOT}{relative}/cgroup.freeze", ("0", "1")


def path_of(group: str) -> str:
    """The path of a group below each hierarchy."""
    return group.removeprefix(_ROOT).removeprefix("/freezer") if group.startswith(_ROOT) else group


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(4096)
    except OSError:
        return ""
