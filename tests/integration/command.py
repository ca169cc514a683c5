"""The command itself, in its own process, on a root directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from peak_memory import measured_bytes, measuring

PROJECT = Path(__file__).parents[2]
MEMORY_LIMIT_BYTES = 100 << 20


class Done(NamedTuple):
    """How a command ended. ``peak_memory_bytes`` is that of the largest process that it waited for."""

    code: int
    stdout: bytes
    stderr: bytes
    peak_memory_bytes: int

    @property
    def text(self) -> str:
        return self.stdout.decode().strip()


class Command:
    """The cais command on one root directory."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.root = root
        self.env = {**os.environ, "CAIS_ROOT": str(root)}

    def __call__(self, *words: str | Path, code: int | None = 0, stdin: bytes = b"", bounded: bool = True) -> Done:
        """Run it; its exit code must be ``code`` (None: any). Not ``bounded``: what it runs may take more memory."""
        with tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "peak")
            argv = measuring([str(self.path), *map(str, words)], report)
            ended = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, check=False)
            done = Done(ended.returncode, ended.stdout, ended.stderr, measured_bytes(report))
        told = f"cais {' '.join(map(str, words))}\n" + (done.stdout + done.stderr).decode(errors="replace")
        assert code is None or done.code == code, f"exit code {done.code}: {told}"
        within = not bounded or done.peak_memory_bytes < MEMORY_LIMIT_BYTES
        assert within, f"peak memory {done.peak_memory_bytes >> 20} MiB: {told}"
        return done

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start it and leave it running."""
        argv = [str(self.path), *map(str, words)]
        return subprocess.Popen(
            argv, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def inspect(self, name: str) -> Any:
        return json.loads(self("image", "inspect", name).stdout)[0]


def installed_command(directory: Path) -> Path:
    """The command beside this interpreter, or one made for these sources."""
    beside = Path(sys.executable).parent / "cais"
    if beside.exists():
        return beside
    made = directory / "cais"
    made.write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT}/src exec {sys.executable} -m cais "$@"\n')
    made.chmod(0o755)
    return made
