"""Replicas: several processes of ``cais registry serve`` on the same records and blobs, and a balancer before them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nginx_server
import private_server
import swift_server

SOURCE = Path(__file__).parents[1] / "src"


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Ours, with those settings and no others."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CAIS_")}
    ours |= {f"CAIS_REGISTRY_{name.upper()}": value for name, value in settings.items()}
    return {**ours, "PYTHONPATH": str(SOURCE)}


def registry_command(settings: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """``cais registry WORDS`` with those settings."""
    command = [sys.executable, "-m", "cais", "registry", *words]
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True)


class Replica:
    """One server, on a port that it keeps when it is started again."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        (self.port,) = private_server.free_ports(1)
        self.log = directory / f"replica-{self.port}.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts it; ``wait`` returns when it answers."""
        listen = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "cais", "registry", "serve", "--listen", listen]
        self._process = private_server.start(command, self.log, env=environment(self._settings))

    def wait(self) -> None:
        private_server.until(self._is_up, f"the replica on port {self.port} answers")

    def _is_up(self) -> bool:
        assert self._process is not None and self._process.poll() is None, private_server.tail(self.log)
        return private_server.answers(self.port)

    def start(self) -> None:
        self.begin()
        self.wait()

    def peak_memory_bytes(self) -> int:
        """The most that one of its processes has had."""
        assert self._process is not None
        peaks = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(process.name)) == self._process.pid:
                    lines = (process / "status").read_text().splitlines()
                    peaks += [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")]
            except OSError:
                pass
        return max(peaks)

    def kill(self) -> None:
        """All its processes at once, as when its host is lost."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """As ``systemctl stop`` does; the exit code."""
        assert self._process is not None
        private_server.stop(self._process, seconds=30)
        code = self._process.returncode
        self._process = None
        return code


class Replicas:
    """``port`` is the balancer's: each request goes to the next of ``servers``."""

    def __init__(self, port: int, servers: Sequence[Replica], settings: dict[str, str]) -> None:
        self.port = port
        self.servers = servers
        self.settings = settings

    def words(self) -> str:
        """What all have said, for the message of a test that fails."""
        return "\n".join(f"--- {server.port}\n{private_server.tail(server.log)}" for server in self.servers)


def storage(swift: Any, postgres: Any, endpoint: str = "") -> dict[str, str]:
    """The settings of one registry: a database and a bucket of its own."""
    return {
        "database_url": postgres.database(),
        "s3_bucket": swift.bucket(),
        "s3_endpoint": endpoint or swift.endpoint,
        "s3_access_key": swift_server.ACCESS_KEY,
        "s3_secret_key": swift_server.SECRET_KEY,
        "s3_part": "1MiB",
    }


@contextmanager
def replicas(count: int, **settings: str) -> Iterator[Replicas]:
    """``settings`` by their names in the environment, without its prefix and in small letters."""
    directory = Path(tempfile.mkdtemp(prefix="cais-replicas-", dir="/var/tmp"))
    settings = {"root": str(directory / "root"), "workers": "1", "anonymous": "write", "log_access": "", **settings}
    servers = [Replica(directory, settings) for _ in range(count)]
    try:
        for server in servers:  # at once, as a cluster starts them: one of them makes the schema
            server.begin()
        for server in servers:
            server.wait()
        with nginx_server.balancing([server.port for server in servers]) as port:
            yield Replicas(port, servers, settings)
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(directory, ignore_errors=True)
