"""The page on replicas holds: its settings, its balancer and its commands, with real servers in place of its names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import nginx_server
import private_server
import replica_servers
import swift_server

pytest.importorskip("obstore")
pytestmark = pytest.mark.root
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "registry-replicas.md").read_text()


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, kind
    return found


def put_in(text: str, names: dict[str, str]) -> str:
    for name, real in names.items():
        assert name in text, f"the page says {name!r} no more"
        text = text.replace(name, real)
    return text


def test_the_page_is_true(swift: Any, postgres: Any, busybox_tar: Path, tmp_path: Path) -> None:
    if lacking := nginx_server.lacking():
        pytest.skip(lacking)
    (port,) = private_server.free_ports(1)
    database = postgres.database().rpartition("/")[2]
    settings = put_in(
        blocks("toml registry.toml")[0],
        {
            "db.example.org:5432/registry": f"127.0.0.1:{postgres.port}/{database}",
            "https://s3.example.org": swift.endpoint,
            'bucket = "registry"': f'bucket = "{swift.bucket()}"',
            'access_key = "registry"': f'access_key = "{swift_server.ACCESS_KEY}"',
            'secret_key = "secret"': f'secret_key = "{swift_server.SECRET_KEY}"',
            "https://registry.example.org/": f"http://127.0.0.1:{port}/",
        },
    )
    (tmp_path / "registry.toml").write_text(settings)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "cais"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cais "$@"\n')
    command.chmod(0o755)
    environment = {
        **replica_servers.environment({"log_access": ""}),
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "CAIS_ROOT": str(tmp_path / "root"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
    }
    servers = [replica_servers.Replica(tmp_path, {"config": str(tmp_path / "registry.toml")}) for _ in range(3)]
    names = {f"replica{n}.example.org:5000": f"127.0.0.1:{server.port}" for n, server in enumerate(servers, 1)}
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.begin()
        for server in servers:
            server.wait()
        names["registry.example.org:80"] = f"127.0.0.1:{port}"
        stack.enter_context(nginx_server.serving(put_in(blocks("nginx registry.conf")[0], names), port))
        commands = put_in("".join(blocks("sh replicas")), {"registry.example.org:80": f"127.0.0.1:{port}"})
        script = f"set -euo pipefail\ncais import {busybox_tar} busybox\n{commands}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout[-3000:] + "".join(private_server.tail(one.log) for one in servers)
        assert "all is well" in done.stdout and "team/busybox" in done.stdout, done.stdout
    shutil.rmtree(tmp_path / "root", ignore_errors=True)
