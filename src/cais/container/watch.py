"""Watching a container's health: the file that says what was found, and the process that waits for the next check.

``<directory>/health.json`` is replaced as a whole by whoever checks. The process is a shell that sleeps, becomes the
check, and then the shell again; it ends with its container, and whoever is no longer named as the one that waits goes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from cais.container import waiting
from cais.container.health import Health, HealthCheck, Result
from cais.errors import from_os_error
from cais.host.files import overwrite

_FILE = "health.json"
_LIMIT_BYTES = 1 << 20


def read(directory: str) -> Health | None:
    """What was found so far; None where nothing was ever checked."""
    try:
        with open(os.path.join(directory, _FILE), "rb") as file:
            status, streak, log = json.loads(file.read(_LIMIT_BYTES))
        return Health(str(status), int(streak), tuple(Result(*item) for item in log))
    except (OSError, ValueError, TypeError):
        return None


def write(directory: str, health: Health) -> None:
    """Raises Unavailable (no space), NotFound (the container is gone)."""
    path = os.path.join(directory, _FILE)
    data = json.dumps((health.status, health.failing_streak, health.log)).encode()
    try:
        overwrite(f"{path}.new", data)
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise from_os_error(error, "note a container's health")


def begin(directory: str, check: HealthCheck, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """The container is about to start: ``command`` checks it, and goes on with ``next_check``."""
    waiting.end(directory, waiting.HEALTH)
    write(directory, (read(directory) or Health()).begun())
    _wait(directory, check, command, environment)


def resume(directory: str, check: HealthCheck, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """The container runs: where the one who waited for its next check was killed, another one does from now on."""
    if waiting.find(directory, waiting.HEALTH) is None:
        _wait(directory, check, command, environment)


def _wait(directory: str, check: HealthCheck, command: Sequence[str], environment: Mapping[str, str]) -> None:
    arguments = waiting.delayed(check.wait_seconds(Health().status, 0), command)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        child = os.posix_spawn(
            arguments[0],
            arguments,
            dict(environment),
            file_actions=[(os.POSIX_SPAWN_DUP2, null, place) for place in (0, 1, 2)],
            setsid=True,
            setsigmask=(),
        )
    except OSError as error:
        raise from_os_error(error, "start the watch over a container's health")
    finally:
        os.close(null)
    waiting.note(directory, waiting.HEALTH, child)


def end(directory: str) -> None:
    """The container has ended, or did not start."""
    waiting.end(directory, waiting.HEALTH)
    health = read(directory)
    if health is not None:
        write(directory, health.ended())


def is_wanted(directory: str) -> bool:
    """Whether this process is still the one that checks."""
    found = waiting.find(directory, waiting.HEALTH)
    return found is not None and found.pid == os.getpid()
