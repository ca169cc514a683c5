"""A disk that fills up under what builds keep beside images: caches, sources, records, exported caches."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from pathlib import Path

import pytest
from container_process import wait_until

pytestmark = pytest.mark.root

LARGE_BYTES = 60 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def cais_on_it(cais, small_disk):
    cais.root = small_disk / "root"
    cais.environment["CAIS_ROOT"] = str(cais.root)
    cais.make_base()
    return cais


def assert_full(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1 and "no space left on" in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr


def fill(directory: Path) -> None:
    """To the last byte, by the file ``filler``."""
    with open(directory / "filler", "ab", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


class Large(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(LARGE_BYTES))
        self.end_headers()
        try:
            for _ in range(LARGE_BYTES >> 20):
                self.wfile.write(os.urandom(1 << 20))
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


def test_a_source_that_does_not_fit(cais_on_it):
    cais = cais_on_it
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Large) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = cais.context("context", f"FROM base\nADD http://127.0.0.1:{server.server_address[1]}/large /\n")
        assert_full(cais("build", str(context), check=False))
        server.shutdown()
    assert os.listdir(cais.root / "sources" / "ingest") == []
    cais.assert_sound()


def test_a_cache_that_fills_the_disk(cais_on_it):
    cais = cais_on_it
    step = "dd if=/dev/zero of=/c/large bs=1M count=60"
    context = cais.context("context", f"FROM base\nRUN --mount=type=cache,target=/c {step}\n")
    assert_full(cais("build", "--progress=plain", str(context), check=False))
    cais.assert_sound()
    # Nothing fits any more; what there is can be seen and removed.
    assert cais("volume", "ls", "-q", "--filter", "kind=cache").stdout.count("cache-") == 1
    cais("builder", "prune", "-af")
    assert cais("volume", "ls", "-q").stdout == ""
    cais.assert_sound()
    after = cais.context("after", "FROM base\nRUN --mount=type=cache,target=/c echo x > /c/x\n")
    cais("build", "-q", str(after))


def test_an_exported_cache_that_does_not_fit(cais_with_base, small_disk):
    cais, cache = cais_with_base, small_disk / "cache"
    small = cais.context("fits", "FROM base\nCOPY file /file\n", [("file", b"small")])
    cais("build", "-q", "--cache-to", f"type=local,dest={cache}", str(small))
    index = (cache / "index.json").read_bytes()
    large = cais.context("large", "FROM base\nCOPY file /file\n", [("file", os.urandom(LARGE_BYTES))])
    assert_full(cais("build", "-t", "large", "--cache-to", f"type=local,dest={cache}", str(large), check=False))
    assert (cache / "index.json").read_bytes() == index and not (cache / "ingest").exists()
    done = cais(
        "build", "--progress=plain", "-t", "large", "--cache-to", f"type=local,dest={cache},ignore-error=true",
        str(large),
    )  # fmt: skip
    assert "the cache was not exported" in done.stderr
    for kind in ("oci", "tar", "docker"):
        assert_full(cais("build", "-o", f"type={kind},dest={small_disk}/out.tar", str(large), check=False))
    assert_full(cais("build", "-o", f"type=local,dest={small_disk}/out", str(large), check=False))
    assert [name for name in os.listdir(small_disk) if name not in ("cache", "out")] == []


def test_a_record_that_does_not_fit(cais_on_it, small_disk):
    """A build that needs no room for its result does not fail for its log and its record."""
    cais = cais_on_it
    context = cais.context("context", "FROM base\nRUN echo x > /x\n")
    cais("build", "-q", "-t", "app", str(context))
    fill(small_disk)
    done = cais("build", "--progress=plain", "-t", "app", str(context), check=False)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert_full(done)
    cais("builder", "history", "ls")
    assert cais("builder", "prune", "-af", check=False).returncode in (0, 1)
    os.unlink(small_disk / "filler")
    cais.assert_sound()
    cais("build", "-q", "-t", "app", str(context))
    assert cais("run", "--rm", "--network", "none", "app", "cat", "/x").stdout == "x\n"


def test_not_even_room_for_what_the_database_shares_between_processes(cais_on_it, small_disk):
    """What is there can be seen and ended; what would be new cannot be, and it is said why."""
    cais = cais_on_it
    cais("run", "-d", "--name", "busy", "--network", "none", "base", "sleep", "1000")
    (index,) = cais.root.glob("*.db-shm")
    index.unlink()
    fill(small_disk)
    assert "busy" in cais("ps").stdout and "base" in cais("image", "ls").stdout
    assert_full(cais("volume", "create", "data", check=False))
    cais("kill", "busy")
    wait_until(lambda: cais("ps", "-q").stdout == "")
    os.unlink(small_disk / "filler")
    cais("volume", "create", "data")
    cais("rm", "busy")
    cais.assert_sound()
