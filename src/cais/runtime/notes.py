"""Notes: what crun and runc keep of a container that runs, read from their own files. Starts nothing."""

from __future__ import annotations

import os

from cais.host.processes import ProcessName, is_alive
from cais.spec.encoding import decode
from cais.spec.named import NamedTuple


class Note(NamedTuple):
    """What the runtime has noted of a container: its first process, and its control group (``cgroup_files``)."""

    process: ProcessName
    group: str


def find_process(state_directory: str, id: str) -> ProcessName | None:
    """The first process of a container by the runtime's own record, if it still lives. Starts nothing."""
    noted = read_note(state_directory, id)
    return noted.process if noted is not None and is_alive(noted.process) else None


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
