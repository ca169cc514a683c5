"""Running the command as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCES = str(Path(__file__).parents[3] / "src")
START = (
    f"import sys; sys.path.insert(0, {SOURCES!r}); sys.argv[0] = 'cais'; from cais.cli import main; sys.exit(main())"
)

Cais = Callable[..., "subprocess.CompletedProcess[Any]"]


@pytest.fixture
def cais(tmp_path: Path) -> Cais:
    """``cais(*arguments, input=...)`` on a root directory of the test's own."""

    def run(*arguments: str, environment: dict[str, str] | None = None, **options: Any) -> Any:
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        options.setdefault("text", True)
        return subprocess.run(
            [sys.executable, "-I", "-c", START, *arguments],
            env={**os.environ, "CAIS_ROOT": str(tmp_path / "root"), **(environment or {})},
            capture_output=True,
            timeout=60,
            **options,
        )

    return run
