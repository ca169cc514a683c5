"""Other tools, asked for the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr.decode()
    return str(done.stdout.decode())
