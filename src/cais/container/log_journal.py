"""The log of a container in the host's journal, where conmon wrote it: read through ``journalctl``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

from cais.container.logs import LogLine, timestamp
from cais.errors import Failed, Unavailable
from cais.host.processes import wait
from cais.runtime.find import find_program

_STREAMS = {"6": "stdout", "3": "stderr"}


def lines(
    id: str, *, follow: Callable[[], bool] | None = None, tail: int | None = None, since: str = "", until: str = ""
) -> Iterator[LogLine]:
    """As ``logs.lines``. Raises Unavailable without journalctl, Failed with what it says."""
    program = find_program("journalctl")
    if not program:
        raise Unavailable("journalctl is not installed: the journal cannot be read")
    command = [program, "--quiet", "--no-pager", "--all", "--output=json", f"CONTAINER_ID_FULL={id}"]
    cursor, runs = "", follow is not None
    more = [f"--lines={tail}"] if tail is not None else []
    while True:
        for entry in _entries([*command, *more]):
            cursor = str(entry.get("__CURSOR", cursor))
            line = _line(entry)
            if since and line.time < since:
                continue
            if until and line.time > until:
                return
            yield line
        if not runs or follow is None:
            return
        if cursor:
            more = [f"--after-cursor={cursor}"]
        runs = follow()


def _entries(command: list[str]) -> Iterator[dict[str, object]]:
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.posix_spawn(command[0], command, {"LC_ALL": "C"}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
    finally:
        os.close(write)
    try:
        with open(read, "rb") as answers:
            for answer in answers:
                yield json.loads(answer)
    finally:
        code = wait(child)
    if code:
        raise Failed(f"journalctl ended with exit code {code}")


def _line(entry: dict[str, object]) -> LogLine:
    message = entry.get("MESSAGE", "")
    # What is no text stands there as a list of numbers.
    text = bytes(message) if isinstance(message, list) else str(message).encode("utf-8", "surrogateescape")
    end = b"" if entry.get("CONTAINER_PARTIAL_MESSAGE") == "true" else b"\n"
    moment = timestamp(int(str(entry.get("__REALTIME_TIMESTAMP", "0"))) * 1000)
    return LogLine(moment, _STREAMS.get(str(entry.get("PRIORITY", "6")), "stdout"), text + end)
