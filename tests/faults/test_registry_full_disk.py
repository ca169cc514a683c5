"""A registry whose directory is on a disk that fills up: pushes are refused, pulls go on, and so does all with room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import private_server
import pushing
import replica_servers
from registry_process import registry_process

pytest.importorskip("uvicorn", reason="needs the extra cais[registry]")
pytestmark = pytest.mark.root
MIB = 1 << 20


@contextmanager
def disk(path: Path, size_mib: int) -> Iterator[Path]:
    """A file system of its own."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB, of which a file ``ballast`` has 4."""
    with disk(tmp_path / "small", 12) as path:
        (path / "ballast").write_bytes(b"x" * 4 * MIB)
        yield path


def fill(path: Path) -> None:
    """Takes all the room that is left."""
    for size in (MIB, 4096):
        with pytest.raises(OSError, match="No space"), path.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(size))


def test_an_upload_that_does_not_fit_goes_on_where_there_is_room_again(small_disk: Path) -> None:
    content = os.urandom(9 * MIB)
    with registry_process(small_disk / "root", "--workers", "1") as server:
        client = pushing.Client(int(server.address.rpartition(":")[2]))
        manifest = client.push("app", "v1", [b"small"])
        location = client.ask("POST", "/v2/app/blobs/uploads/", b"").headers["location"]
        refused = client.once("PATCH", location, content)
        assert refused.status == 503 and int(refused.headers["retry-after"]) > 0, refused
        assert client.pull("app", "v1") == (manifest, [b"small"])
        assert client.once("GET", "/v2/").status == 200
        # What was written is there, and no byte that was not.
        status = client.once("GET", location)
        offset = int(status.headers["range"].partition("-")[2]) + 1
        assert status.status == 204 and MIB < offset < 8 * MIB, status
        again = client.once("PATCH", location, content[offset:])
        assert again.status == 503, again
        (small_disk / "ballast").unlink()
        status = client.once("GET", location)
        offset = int(status.headers["range"].partition("-")[2]) + 1
        span = {"Content-Range": f"{offset}-{len(content) - 1}"}
        assert client.once("PATCH", location, content[offset:], span).status == 202, server.log()
        assert client.once("PUT", f"{location}?digest={pushing.digest_of(content)}", b"").status == 201, server.log()
        assert client.once("GET", f"/v2/app/blobs/{pushing.digest_of(content)}").body == content
        log = server.log()
        assert "No space left on device" in log and "Traceback" not in log, log


def test_a_disk_without_any_room_refuses_and_forgets_nothing(small_disk: Path) -> None:
    with registry_process(small_disk / "root", "--workers", "1") as server:
        client = pushing.Client(int(server.address.rpartition(":")[2]))
        manifest = client.push("app", "v1", [b"small"])
        full = small_disk / "full"
        fill(full)
        for _ in range(30):
            answer = client.once("POST", "/v2/other/blobs/uploads/", b"")
            assert answer.status in (202, 503), answer
        content = os.urandom(MIB)
        whole = client.once("POST", f"/v2/app/blobs/uploads/?digest={pushing.digest_of(content)}", content)
        assert whole.status == 503, whole
        assert client.pull("app", "v1") == (manifest, [b"small"])
        full.unlink()
        assert client.push("app", "v2", [content])
        log = server.log()
        assert "Traceback" not in log, log


def test_ten_clients_on_a_disk_that_is_full_again_and_again(tmp_path: Path) -> None:
    """They wait, and go on; what was acknowledged is whole."""
    with disk(tmp_path / "disk", 250) as place, registry_process(place / "root", "--workers", "2") as server:
        port = int(server.address.rpartition(":")[2])
        probe = os.urandom(MIB)
        where = f"/v2/probe/blobs/uploads/?digest={pushing.digest_of(probe)}"
        times = 0

        def disturb() -> None:
            nonlocal times
            fill(place / "full")
            private_server.until(lambda: pushing.Client(port).once("POST", where, probe).status == 503, "it is full")
            (place / "full").unlink()
            private_server.until(lambda: pushing.Client(port).once("POST", where, probe).status == 201, "there is room")
            times += 1

        acknowledged, given_up = pushing.storm(port, 10, 1.5, disturb)
        assert times and len(acknowledged) >= 10 and not given_up, server.log()
        for push in acknowledged:
            assert pushing.Client(port).pull(push.repository, push.tag) == (push.manifest, push.layers)
        assert "Traceback" not in server.log(), server.log()
        done = replica_servers.registry_command({"root": str(server.root)}, "check")
        assert done.returncode == 0 and "all is well" in done.stdout, done.stdout + done.stderr
