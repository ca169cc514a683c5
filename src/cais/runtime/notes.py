"""Notes: what crun and runc keep of a container that runs, read from their own files. Starts nothing."""

from __future__ import annotations

import os

from cais.host.processes import ProcessName
from cais.spec.encoding import decode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
