"""Images of programs from Debian's packages, built here on one root file system (directory ``programs``)."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_process import wait_until

from integration.machine import Machine

RECIPES = Path(__file__).parent / "programs"


def root_file_system() -> Path:
    """The tar that the image ``programs`` is made of; made from packages where it is not kept from before."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap (package mmdebstrap)")
    made = subprocess.run([RECIPES / "rootfs"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"mmdebstrap made no root file system of this machine's packages: {made.stderr}")
    return Path(made.stdout.strip())


@contextlib.contextmanager
def machine(*images: str) -> Iterator[Machine]:
    """A host of root's that has ``programs`` and these images."""
    for program in ("nft", "ip", "curl", "crun", "conmon"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    archive = root_file_system()
    directory = Path(tempfile.mkdtemp(prefix="cais-programs-", dir="/var/tmp"))
    made = Machine(directory)
    try:
        fill(made, archive, images)
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


def fill(host: Machine, archive: Path, images: tuple[str, ...]) -> None:
    host("import", archive, "programs")
    for name in images:
        host("build", "-q", "-t", name, RECIPES / name)


def assert_all_goes_away(host: Machine) -> None:
    """What a test has made is removed, and then nothing of it is left on the host."""
    for name in host("ps", "-aq").split():
        host("rm", "-f", "-v", name)
    host("network", "prune", "-f")
    host("volume", "prune", "-af")
    assert host("volume", "ls", "-q") == ""
    wait_until(host.nothing_left)
