"""Files that name a process: its pid, its start and the boot, so that no later process of the same pid is meant."""

from __future__ import annotations

import os

from cais.host.files import overwrite, read_small
from cais.host.processes import ProcessName, boot_id, is_alive, start_ticks


def note(path: str, pid: int) -> None:
    """The file ``path`` names ``pid`` from now on. Raises OSError."""
    overwrite(f"{path}.new", f"{pid} {start_ticks(pid) or 0} {boot_id()}\n".encode())
    os.replace(f"{path}.new", path)


def find(path: str, this_boot: str = "") -> ProcessName | None:
    """The process that ``path`` names, while it lives. ``this_boot``: ``boot_id()``, for who looks at many."""
    try:
        pid, started, boot = read_small(path).decode().split()
        name = ProcessName(int(pid), int(started))
    except (OSError, ValueError):
        return None
    return name if boot == (this_boot or boot_id()) and is_alive(name) else None
