"""`cais registry serve`: where it listens, what it says where it cannot."""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import sys
from pathlib import Path

from registry_process import SOURCE, registry_process


def refused(*words: str, before: str = "pass") -> str:
    """What it says on its way out, without a traceback."""
    code = f"import sys; {before}; from cais.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "registry", "serve", *words]
    done = subprocess.run(command, env={"PYTHONPATH": str(SOURCE)}, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with registry_process(tmp_path / "root", "--listen", f"unix:{path}") as registry:
        assert registry.address == f"listening on unix:{path}"
        connection = http.client.HTTPConnection("registry")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        data = b"by a file" * 20_000
        assert registry.request("GET", "/v2/", connection=connection).status == 200
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        uploaded = registry.request("POST", f"/v2/x/blobs/uploads/?digest={digest}", data, connection=connection)
        assert uploaded.status == 201
        assert registry.request("GET", uploaded.headers["location"], connection=connection).body == data
        connection.close()
        assert "cannot listen" in refused("--root", str(tmp_path / "root"), "--listen", f"unix:{path}")


def test_what_it_cannot_listen_on(tmp_path: Path) -> None:
    root = ("--root", str(tmp_path))
    for address in ("nowhere", "127.0.0.1:x", "127.0.0.1:99999"):
        assert "is not an address to listen on" in refused(*root, "--listen", address)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen on {address}: Address already in use" in refused(*root, "--listen", address)


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    assert "registry" in refused("--root", str(tmp_path / "file"), "--listen", "127.0.0.1:0")


def test_packages_that_are_not_installed(tmp_path: Path) -> None:
    for package in ("sqlalchemy", "uvicorn"):
        said = refused("--root", str(tmp_path), before=f"sys.modules['{package}'] = None")
        assert f"needs packages that are not installed ({package})" in said
        assert "pip install 'cais[registry]'" in said
