"""Images of programs from Debian's packages, built here on one root file system (directory ``programs``)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
def machine(*images: str, account: Any = None, python: tuple[str, str] | None = None) -> Iterator[Machine]:
    """A host that has ``programs`` and these images; commands are root's, or those of ``account``."""
    for program in ("nft", "ip", "curl", "crun", "conmon") if account is None else ("curl", "crun", "conmon", "pasta"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    archive = root_file_system()
    directory = Path(tempfile.mkdtemp(prefix="cais-programs-", dir="/var/tmp"))
    if account is None:
        made = Machine(directory)
    else:
        assert python is not None
        directory.chmod(0o755)
        become = ("setpriv", f"--reuid={account.user_id}", f"--regid={account.group_id}", "--clear-groups")
        os.chown(directory, account.user_id, account.group_id)
        made = Machine(directory, become, python)
    try:
        if account is not None:
            give_tun(made, directory)
        with open(archive, "rb") as file:  # the user may not read where it is kept
            subprocess.run(**made.options("import", "-", "programs"), stdin=file, capture_output=True, check=True)
        for name in images:
            made("build", "-q", "-t", name, RECIPES / name)
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


def give_tun(host: Machine, directory: Path) -> None:
    """Lets everybody on this host open /dev/net/tun, which pasta needs, as most machines do."""
    node = str(directory / "tun")
    try:
        host.run("mknod", "-m", "666", node, "c", "10", "200")
        host.run("mount", "--bind", node, "/dev/net/tun")
        host.run(*host.become, "sh", "-c", ": <>/dev/net/tun")
    except AssertionError as error:
        pytest.skip(f"an ordinary user cannot have /dev/net/tun here: {error}")


def assert_all_goes_away(host: Machine) -> None:
    """What a test has made is removed, and then nothing of it is left on the host."""
    for name in host("ps", "-aq").split():
        host("rm", "-f", "-v", name)
    host("network", "prune", "-f")
    host("volume", "prune", "-af")
    assert host("volume", "ls", "-q") == ""
    wait_until(host.nothing_left)
