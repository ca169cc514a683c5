"""Credentials of URLs and proxies: not on disk, not in what is said, not in what is said about an image."""

from __future__ import annotations

import base64
import gzip
import http.server
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

PASSWORD = "hunter2-of-a-url"


def places_of(directory: Path, needle: bytes = PASSWORD.encode()) -> list[str]:
    """The files below ``directory`` with ``needle`` in them: as it is, in base64, or in what gzip packs."""
    found = []
    encoded = [base64.b64encode(b"x" * skip + needle)[4:-4] for skip in range(3)]
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            data = Path(path).read_bytes()
            if data[:2] == b"\x1f\x8b":
                data += gzip.decompress(data)
            if any(item in data for item in (needle, *encoded)):
                found.append(path)
    return found


class Server(http.server.ThreadingHTTPServer):
    """Gives a file to whoever has the password."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Authorization", ""))
        allowed = self.headers.get("Authorization", "").startswith("Basic ") and "missing" not in self.path
        self.send_response(200 if allowed else 404)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"data")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


def test_a_password_in_a_url(cais_with_base, server, tmp_path):
    cais = cais_with_base
    url = f"http://user:{PASSWORD}@127.0.0.1:{server.server_address[1]}"
    outside = tmp_path / "outside"
    outside.mkdir()
    context = cais.context(
        "context",
        # Where ARG stands in a stage its value is in the image's history, as with Docker.
        f"ARG WHERE\nFROM base\nADD {url}/file {url}/other /files/\nRUN test -f /files/other\n",
    )
    said = []
    for more in (
        ("--progress=plain", "--explain"),
        ("--progress=rawjson", "--no-cache"),
        ("--provenance=mode=max", "--sbom=true", "--no-cache", "--progress=plain"),
        ("--provenance=mode=max,version=v1", "-o", f"type=oci,dest={outside}/image.tar"),
        ("--provenance=mode=max", "-o", f"type=local,dest={outside}/files"),
        ("--cache-to", f"type=local,dest={outside}/cache"),
    ):
        done = cais(
            "build", "--build-arg", f"WHERE={url}", "--metadata-file", f"{outside}/metadata", "-t", "app", *more,
            "--build-arg", f"HTTP_PROXY=http://me:{PASSWORD}@127.0.0.1:1", "--build-arg", "NO_PROXY=*", str(context),
        )  # fmt: skip
        said.append(done.stdout + done.stderr)
    assert any(server.asked)
    (context / "Dockerfile").write_text(f"FROM base\nADD {url}/missing /file\n")
    said.append(cais("build", "--progress=plain", str(context), check=False).stderr)
    assert "404" in said[-1]
    for words in (
        ("builder", "history", "inspect", "-f", "json", "^1"), ("builder", "history", "inspect", "^1"),
        ("builder", "graph", "--format", "html"), ("builder", "du", "--verbose"), ("builder", "logs"),
    ):  # fmt: skip
        done = cais(*words, check=False)
        said.append(done.stdout + done.stderr)
    assert PASSWORD not in "".join(said)
    assert places_of(outside) == []
    cais("save", "-o", f"{outside}/app.tar", "app")
    assert places_of(outside) == []
    assert places_of(cais.root) == []


def test_a_password_in_a_variable_of_a_step_is_not_told(cais_with_base):
    cais = cais_with_base
    context = cais.context("context", "FROM base\nARG WHERE\nRUN true\n")
    said = []
    for number in range(2):
        url = f"https://user:{PASSWORD}{number}@host/{number}"
        done = cais("build", "--progress=plain", "--explain", "--build-arg", f"WHERE={url}", str(context))
        said.append(done.stdout + done.stderr)
    assert "https://xxxxx:xxxxx@host/0" in said[-1]
    said += [cais("builder", "history", *words).stdout for words in (("inspect",), ("inspect", "-f", "json"))]
    said.append(cais("builder", "graph", "--format", "json").stdout)
    assert "@host/1" in "".join(said) and PASSWORD not in "".join(said)


def test_a_proxys_password_is_not_on_disk_while_a_step_runs(cais_with_base):
    cais = cais_with_base
    prepared = cais.context("prepared", "FROM base\nRUN --mount=type=cache,target=/c mkfifo /c/ready\n")
    cais("build", "-q", str(prepared))
    (name,) = cais("volume", "ls", "-q", "--filter", "kind=cache").stdout.split()
    place = cais("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()
    context = cais.context(
        "context",
        "FROM base\nRUN true\nRUN --mount=type=cache,target=/c echo $HTTP_PROXY > /c/ready; sleep 300\n",
    )
    plain = cais.context("plain", "FROM base\nRUN echo $HTTP_PROXY > /said; read x < /said; test -n $x; rm /said\n")
    proxy = ("--build-arg", f"HTTP_PROXY=http://me:{PASSWORD}@127.0.0.1:1")
    cais("build", "-q", *proxy, str(plain))
    assert places_of(cais.root) == []
    process = cais.start("build", "-q", *proxy, str(context))
    with open(f"{place}/ready", "rb") as pipe:
        assert PASSWORD.encode() in pipe.read()
    assert places_of(cais.root) == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    cais("builder", "prune", "-f")
    assert places_of(cais.root) == []
    assert subprocess.run(["pgrep", "-f", str(cais.root)], check=False, capture_output=True).stdout == b""
