"""A registry whose directory is on a disk that fills up: pushes are refused, pulls go on, and so does all with room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pushing
from registry_process import registry_process

pytest.importorskip("uvicorn", reason="needs the extra cais[registry]")
pytestmark = pytest.mark.root
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB, of which a file ``ballast`` has 4."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(path)], check=True)
    (path / "ballast").write_bytes(b"x" * 4 * MIB)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


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
        with pytest.raises(OSError, match="No space"), full.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
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
