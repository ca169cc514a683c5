"""Containers that stand still while their volumes are copied.

Each is paused by a shell that resumes it when its input ends: also when this process is killed meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.errors import CaisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.runtime.runner import Runtime

_SCRIPT = 'pause=$1 resume=$2; if eval "$pause"; then echo paused; read -r x; eval "$resume"; else echo; fi'


class Standstill:
    """``with Standstill(runtime, ids) as moving``: ``moving`` are those that could not be paused."""

    def __init__(self, runtime: Runtime, ids: Sequence[str]) -> None:
        self._runtime = runtime
        self._ids = ids
        self._shells: list[tuple[int, int]] = []

    def __enter__(self) -> list[str]:
        moving: list[str] = []
        try:
            moving.extend(id for id in self._ids if not self._pause(id))
        except BaseException:
            self._resume()
            raise
        return moving

    def __exit__(self, *_: object) -> None:
        self._resume()

    def _resume(self) -> None:
        for _, write in self._shells:
            os.close(write)
        for pid, _ in self._shells:
            os.waitpid(pid, 0)
        self._shells.clear()

    def _pause(self, id: str) -> bool:
        runtime = self._runtime
        try:
            if not runtime.host.cgroups_writable:
                return False
            bundle = runtime.opened(id)
            command = [runtime.program(bundle).path, *runtime.arguments(bundle)]
        except CaisError:
            return False
        texts = [" ".join(_quoted(word) for word in (*command, verb, id)) for verb in ("pause", "resume")]
        stdin, write = os.pipe2(os.O_CLOEXEC)
        answer, stdout = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            pid = os.posix_spawn(
                "/bin/sh", ["sh", "-c", _SCRIPT, "sh", *texts], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setsid=True,
            )  # fmt: skip
        except BaseException:
            os.close(write)
            os.close(answer)
            raise
        finally:
            for descriptor in (stdin, stdout, null):
                os.close(descriptor)
        self._shells.append((pid, write))
        with open(answer, "rb") as lines:
            return lines.readline() == b"paused\n"


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
