"""The registry's own image, made by Cais from Debian packages, serves in a container."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration.command import PROJECT, installed_command

pytestmark = [pytest.mark.long, pytest.mark.root]
_PATIENCE_SECONDS = 60


def test_the_image_serves(tmp_path: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap (package mmdebstrap)")
    command = str(installed_command(tmp_path))
    environment = {**os.environ, "CAIS": command, "CAIS_ROOT": str(tmp_path / "root"), "PYTHON": sys.executable}

    def cais(*words: str) -> str:
        done = subprocess.run([command, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    subprocess.run([PROJECT / "images" / "make", "registry"], env=environment, check=True)
    container = cais(
        "run", "-d", "--network", "host", "-e", "CAIS_REGISTRY_LISTEN=127.0.0.1:0", "-e",
        "CAIS_REGISTRY_ANONYMOUS=write", "cais-registry",
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "listening on http://" not in (said := cais("logs", container)):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        address = said.splitlines()[0].rpartition("//")[2]
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("POST", "/v2/app/blobs/uploads/")
        answer = connection.getresponse()
        assert answer.status == 202 and answer.read() == b""
        connection.close()
        assert cais("exec", container, "id", "-un") == "cais-registry"
        assert cais("exec", container, "cais", "registry", "check").endswith("all is well")
        cais("stop", container)
        assert cais("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    finally:
        cais("rm", "-f", "-v", container)
