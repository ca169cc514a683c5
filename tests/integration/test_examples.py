"""The examples do what they say: built and run by the command, as a reader would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from integration.command import PROJECT, Command

EXAMPLES = PROJECT / "examples"
pytestmark = pytest.mark.root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_hello(cais: Command) -> None:
    cais("build", "-q", "-t", "hello", EXAMPLES / "hello")
    said = cais("run", "--rm", "--network", "none", "hello").text
    assert said.startswith("Hello from a container\nI am root on Linux, process 1,")
    cais("build", "-q", "-t", "hello", "--build-arg", "GREETING=Salve", EXAMPLES / "hello")
    assert cais("run", "--rm", "--network", "none", "hello").text.startswith("Salve\n")


def test_a_web_application_answers(cais: Command) -> None:
    cais("build", "-t", "web", EXAMPLES / "web")
    config = cais.inspect("web")["Config"]
    assert config["User"] == "www-data"
    assert config["Cmd"] == ["python3", "app.py"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    port = free_port()
    server = cais.start("run", "--rm", "--network", "host", "-e", f"PORT={port}", "--name", "web", "web")
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    told = json.load(answer)
                break
            except urllib.error.URLError:
                assert server.poll() is None, server.communicate()
                assert time.monotonic() < deadline, "no answer"
        assert told["user_id"] == 33
        assert told["process_id"] == 1
        assert told["system"].startswith("Debian GNU/Linux 12")
        assert "web" in cais("ps", "--format", "{{.Names}}").text.split()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) is not None
    finally:
        server.kill()
        server.communicate()
    assert "web" not in cais("ps", "-a", "--format", "{{.Names}}").text.split()


def test_a_program_in_two_stages(cais: Command) -> None:
    cais("build", "-t", "hello-c", EXAMPLES / "hello-c")
    image = cais.inspect("hello-c")
    assert image["Size"] < 2_000_000
    assert len(image["RootFS"]["Layers"]) == 1
    assert cais("run", "--rm", "--network", "none", "hello-c", "Cais").text.startswith(
        "Hello, Cais, from a static program"
    )


def test_the_library(cais: Command) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "library.py"],
        env={**os.environ, "CAIS_ROOT": str(cais.root), "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "built greeting:latest: sha256:" in done.stdout or "built greeting: sha256:" in done.stdout
    assert "it says:\nHello from the library\nand ended with exit code 0\n" in done.stdout


def test_the_library_with_containers(cais: Command) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "containers.py"],
        env={**os.environ, "CAIS_ROOT": str(cais.root), "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for line in (
        "stdout: ready", "example-server is running on example-net", "it wrote 'kept' and ended with 3",
        "container start", "the volume is still there: example-data", "not_found: No such container: example-server",
    ):  # fmt: skip
        assert line in done.stdout.splitlines(), done.stdout
