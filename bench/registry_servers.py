"""The servers that `bench/registry_cases.py` compares, each in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from base64 import b64encode

HERE = os.path.dirname(os.path.abspath(__file__))
USER, PASSWORD = "bench", "bench-password"


class Server:
    """A server in a process of its own on a free port, with its storage below ``directory``."""

    name = ""
    registry = True

    def __init__(self, directory: str) -> None:
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory)
        self.headers: dict[str, str] = {}
        self.port = free_port()
        self.process = self.start()
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise RuntimeError(f"{self.name} has not started")
            time.sleep(0.05)

    def start(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300, blocksize=1 << 20)

    def ask(
        self, method: str, path: str, body: object = None, *, connection: http.client.HTTPConnection | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        used = connection or self.connect()
        path = re.sub(r"^https?://[^/]+", "", path)
        used.request(method, path, body, {**self.headers, **(headers or {})})  # type: ignore[arg-type]
        answer = used.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        data = answer.read()
        if connection is None:
            used.close()
        if answer.status >= 400:
            raise RuntimeError(f"{self.name}: {method} {path}: {answer.status} {data[:300]!r}")
        return answer.status, found, data

    def push_blob(
        self, data: object, digest: str, length: int, connection: http.client.HTTPConnection | None = None
    ) -> None:
        """As most clients do: POST, PATCH, PUT."""
        _, headers, _ = self.ask("POST", "/v2/bench/x/blobs/uploads/", connection=connection)
        sent = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        _, headers, _ = self.ask("PATCH", headers["location"], data, connection=connection, headers=sent)
        location = headers["location"]
        location += f"{'&' if '?' in location else '?'}digest={digest}"
        self.ask("PUT", location, connection=connection)

    def cpu_seconds(self) -> float:
        return sum(map(cpu_seconds, tree(self.process.pid)))

    def memory_mib(self) -> int:
        """The most that one of its processes has in memory now."""
        found = []
        for process in tree(self.process.pid):
            with open(f"/proc/{process}/status") as file:
                found.append(int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) // 1024)  # type: ignore[union-attr]
        return max(found)


class Cais(Server):
    name = "cais"

    def start(self) -> subprocess.Popen[bytes]:
        self.headers = {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        words = ["registry", "serve", "--root", self.directory, "--listen", f"127.0.0.1:{self.port}"]
        for setting in (f"access.admin={USER}", f"access.admin_password={PASSWORD}", "log.access="):
            words += ["--set", setting]
        source = os.path.join(HERE, "..", "src")
        environment = {**os.environ, "PYTHONPATH": source}
        return subprocess.Popen([sys.executable, "-m", "cais", *words], env=environment, stdout=subprocess.DEVNULL)

    def sign_in(self) -> None:
        """From now on with a token, as clients do."""
        scope = "scope=repository:bench/x:pull,push&scope=repository:bench/many:pull"
        _, _, body = self.ask("GET", f"/token?service=cais-registry&{scope}")
        self.headers = {"Authorization": "Bearer " + json.loads(body)["token"]}


class DockerRegistry(Server):
    name = "docker-registry"

    def start(self) -> subprocess.Popen[bytes]:
        settings = os.path.join(self.directory, "config.yml")
        with open(settings, "w") as file:
            file.write(
                "version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\n"
                f"storage:\n  filesystem:\n    rootdirectory: {self.directory}\n"
                f"http:\n  addr: 127.0.0.1:{self.port}\n"
            )
        return subprocess.Popen(
            ["docker-registry", "serve", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


class Nginx(Server):
    name = "nginx"
    registry = False

    def start(self) -> subprocess.Popen[bytes]:
        os.chmod(self.directory, 0o755)
        settings = os.path.join(self.directory, "nginx.conf")
        with open(settings, "w") as file:
            file.write(
                f"daemon off; pid {self.directory}/pid; error_log /dev/null; worker_processes 2; user root;\n"
                "events { worker_connections 1024; }\n"
                "http { access_log off; sendfile on; tcp_nopush on;\n"
                + "".join(
                    f"{kind}_temp_path {self.directory}/{kind};\n"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
                )
                + f"server {{ listen 127.0.0.1:{self.port}; root {self.directory}/files; }} }}\n"
            )
        os.makedirs(os.path.join(self.directory, "files"))
        return subprocess.Popen(["nginx", "-c", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:
        return [process, *(one for child in file.read().split() for one in tree(int(child)))]


def cpu_seconds(process: int) -> float:
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
