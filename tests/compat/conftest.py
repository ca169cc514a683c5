"""Peers that several tests ask: a podman and a Docker daemon, each with a place of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peer_tools import need, run


@pytest.fixture(scope="session")
def podman() -> Iterator[Callable[..., str]]:
    need("podman")
    if os.geteuid() != 0:
        pytest.skip("podman as root only")
    # podman refuses a runroot of more than 50 characters.
    directory = Path(tempfile.mkdtemp(prefix="cais-podman-", dir="/var/tmp"))

    def call(*command: str | Path, **options: object) -> str:
        base = ("podman", "--root", directory / "root", "--runroot", directory / "run", "--storage-driver", "vfs")
        return run(*base, *command, **options)

    yield call
    subprocess.run(["rm", "-rf", directory], check=True)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """A Docker daemon of our own, without networks."""
    need("docker", "dockerd", "containerd")
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    directory = tmp_path_factory.mktemp("docker")
    socket = f"unix://{directory}/sock"
    with open(directory / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", directory / "root", "--exec-root", directory / "exec", "-p", directory / "pid",
             "-H", socket, "--iptables=false", "--bridge=none", "-s", "vfs"],
            stdout=log, stderr=log,
        )  # fmt: skip
    deadline = time.monotonic() + 30
    while subprocess.run(["docker", "-H", socket, "version"], capture_output=True).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            daemon.wait()
            pytest.skip("dockerd does not start here: " + (directory / "log").read_text()[-500:])

    def call(*command: str | Path, **options: object) -> str:
        return run("docker", "-H", socket, *command, **options)

    yield call
    daemon.terminate()
    daemon.wait(30)
