"""Registries for tests: Debian's docker-registry, each on a port and a directory of its own."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

DEADLINE_SECONDS = 20.0
_LAST = "/v2/?last="
USER, PASSWORD = "ada", "correct horse"
# bcrypt of the password, which is all that docker-registry knows.
_HASH = "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"


class Server(NamedTuple):
    """``address`` is ``127.0.0.1:PORT``."""

    address: str
    directory: Path
    process: subprocess.Popen[bytes]
    log: Path

    def requests(self) -> list[str]:
        """``METHOD path`` of all requests that were answered so far."""
        # Its log names a request after it was answered: once a later one is there, those before are, too.
        last = f"{_LAST}{os.urandom(8).hex()}"
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("GET", last)
        connection.getresponse().read()
        connection.close()
        until = time.monotonic() + DEADLINE_SECONDS
        while last not in (said := self.log.read_text()):
            assert time.monotonic() < until, f"the log does not name {last}"
            time.sleep(0.005)
        return [
            line.split('"')[1].rsplit(" ", 1)[0]
            for line in said.splitlines()
            if "HTTP/1." in line and '"' in line and not line.startswith("time=") and _LAST not in line
        ]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def docker_registry(directory: Path, *, private: bool = False, **settings: str) -> Iterator[Server]:
    """Debian's docker-registry; ``private``: for ``USER`` only, by Basic authentication.

    ``settings`` are its environment's.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs docker-registry (package docker-registry)")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(directory / "data"),
        "REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}",
        "REGISTRY_STORAGE_DELETE_ENABLED": "true",
        "OTEL_TRACES_EXPORTER": "none",
        **settings,
    }
    if private:
        (directory / "htpasswd").write_text(f"{USER}:{_HASH}\n")
        environment |= {
            "REGISTRY_AUTH": "htpasswd",
            "REGISTRY_AUTH_HTPASSWD_REALM": "test",
            "REGISTRY_AUTH_HTPASSWD_PATH": str(directory / "htpasswd"),
        }
    config = directory / "config.yml"
    config.write_text("version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem: {}\nhttp: {}\n")
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "serve", str(config)], env=environment, stdout=output, stderr=output)
    try:
        wait_for_http(f"127.0.0.1:{port}", process)
        yield Server(f"127.0.0.1:{port}", directory, process, log)
    finally:
        process.terminate()
        process.wait(10)


def wait_for_http(address: str, process: subprocess.Popen[bytes]) -> None:
    """Until something answers, whatever it says."""
    until = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            connection.close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"no registry at {address}")
            time.sleep(0.02)
