"""Processes that wait for a container's sake and weigh little: a shell that sleeps, then becomes a command.

A container's directory names them by files, so that whoever needs them no more can end them, and so that a wait whose
process is gone is not believed in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.errors import from_os_error
from cais.host import process_files
from cais.host.processes import ProcessName, kill_family

RESTART = "restart.waiter"
HEALTH = "health.waiter"


def delayed(seconds: float, command: Sequence[str]) -> list[str]:
    """What to execute so that ``command`` is executed in the same process after ``seconds``."""
    return ["/bin/sh", "-c", 'cd / && sleep "$0" && exec "$@"', f"{seconds:.3f}", *command]


def note(directory: str, name: str, pid: int) -> None:
    """``pid`` waits from now on. Raises Unavailable, Denied."""
    try:
        process_files.note(os.path.join(directory, name), pid)
    except OSError as error:
        raise from_os_error(error, "note a process that waits")


def find(directory: str, name: str) -> ProcessName | None:
    """Who waits, while it lives."""
    return process_files.find(os.path.join(directory, name))


def end(directory: str, name: str) -> None:
    """Nobody waits any more; this process itself, where it is the one, goes on."""
    process = find(directory, name)
    if process is not None and process.pid != os.getpid():
        try:
            kill_family(process.pid, process.start_ticks)
        except PermissionError:
            pass  # it finds out by itself that nobody needs it
    try:
        os.unlink(os.path.join(directory, name))
    except FileNotFoundError:
        pass
