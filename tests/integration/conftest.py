"""One root directory for the whole session, with the base images in it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.command import PROJECT, Command, installed_command


@pytest.fixture(scope="session")
def bare() -> Iterator[Command]:
    """The command on an empty root directory."""
    # Not pytest's own directory: that may be a tmpfs, where overlay cannot keep every attribute.
    directory = Path(tempfile.mkdtemp(prefix="cais-integration-", dir="/var/tmp"))
    yield Command(installed_command(directory), directory / "root")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def cais(bare: Command) -> Command:
    """The command, with ``busybox`` and ``debian`` made by the recipes, which keep what mmdebstrap made."""
    made = subprocess.run(
        [PROJECT / "images" / "make", "busybox", "debian"],
        env={**bare.env, "CAIS": str(bare.path)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return bare


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory
