"""The command as any user in any surroundings: what tests of ordinary users share."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Cais(NamedTuple):
    """The command: ``prefix`` is what makes the process a certain user in certain surroundings."""

    prefix: tuple[str, ...]
    python: str
    path: str
    root: Path

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": self.path, "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {"HOME": str(self.root.parent), "CAIS_ROOT": str(self.root), **options.pop("env", {})}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        argv = [*self.prefix, self.python, "-m", "cais", *words]
        return subprocess.Popen(argv, env=env, cwd=self.root.parent, **options)

    def __call__(self, *words: str, code: int = 0, stdin: bytes = b"", **options: Any) -> str:
        process = self.start(*words, stdin=subprocess.PIPE, **options)
        said = process.communicate(stdin, timeout=120)[0].decode(errors="replace")
        assert process.returncode == code, f"cais {' '.join(words)}: {process.returncode}\n{said}"
        return said

    def build(self, tag: str, dockerfile: str, *words: str, code: int = 0) -> str:
        """In the context ``context`` beside the root directory; what it said."""
        return self("build", "-q", "-t", tag, "-f", "-", *words, "context", code=code, stdin=dockerfile.encode())

    def inspect(self, name: str) -> Any:
        return json.loads(self("inspect", name))[0]

    def sh(self, script: str, *words: str, image: str = "box", code: int = 0) -> list[str]:
        """The lines that a shell in a container of ``image`` says, without a network unless ``words`` have one."""
        network = () if "--network" in words else ("--network", "none")
        return self("run", "--rm", *network, *words, image, "sh", "-c", script, code=code).splitlines()

    def assert_nothing_left(self) -> None:
        """No container, no process, no bundle; and what is kept is sound."""
        run = self.root / "run"

        def gone() -> bool:
            return not [name for name in os.listdir(run) if not name.startswith(".")]

        wait_until(lambda: self("ps", "-aq") == "" and gone())
        assert self("system", "check") == "All is well\n"


Make = Callable[..., Cais]


def wait_until(condition: Callable[[], object]) -> None:
    paused = threading.Event()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if condition():
            return
        paused.wait(0.02)
    raise AssertionError("it did not come to be in 20 seconds")


def as_user(account: Any) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={account.user_id}", f"--regid={account.group_id}", "--clear-groups")


def alive(mark: str) -> list[str]:
    """The processes whose command line begins with ``mark``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(mark.encode()):
                found.append(path.parent.name)
        except OSError:
            continue
    return found
