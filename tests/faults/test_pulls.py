"""Pulls and pushes that are killed, interrupted, run twice at once, or fill the disk."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess

import pytest
from peak_memory import measured_bytes, measuring

from image_hosts import Asked, Host

pytestmark = pytest.mark.root

LAYERS = 5
KILLS = 60 if os.environ.get("CAIS_LONG_TESTS") else 6


@pytest.fixture
def source(tmp_path):
    made = Host(tmp_path / "source")
    yield made
    made.engine.close()


@pytest.fixture
def pushed(source, open_registry, request):
    """An image in a registry whose layers do not compress."""
    name = f"{open_registry.address}/{request.node.originalname}-{os.urandom(4).hex()}:1"
    source.image(name, *({f"file{number}": os.urandom(2 << 20)} for number in range(LAYERS)))
    source.push(name, compression="gzip:0")
    return name


def test_a_push_of_large_layers_takes_little_memory(cais, open_registry):
    """Several at once, that do not compress, sent while they are compressed: to repositories that are new."""
    data = random.Random(1).randbytes(20 << 20)
    files = [(f"file{number}", bytes([number]) + data) for number in range(3)]
    lines = "".join(f"COPY {file} /\n" for file, _ in files)
    cais("build", "-q", "-t", "large", str(cais.context("large", f"FROM scratch\n{lines}", files)))
    report = str(cais.directory / "peak")
    for compression in ("gzip", "zstd", "zstd:12"):
        name = f"{open_registry.address}/memory-{os.urandom(4).hex()}:1"
        cais("tag", "large", name)
        command = measuring(cais.command("push", "--quiet", "--compression", compression, name), report)
        subprocess.run(command, env=cais.environment, check=True, capture_output=True)
        assert measured_bytes(report) < 100 << 20, compression


def images(cais) -> str:
    return cais("images", "-q").stdout


def test_two_at_once_share_the_work(cais, pushed, open_registry):
    with Asked(open_registry) as asked:
        processes = [cais.start("pull", pushed, stderr=subprocess.PIPE) for _ in range(2)]
        errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(asked.of("GET", "/blobs/sha256")) == LAYERS + 1
    assert images(cais).count("\n") == 1
    cais.assert_sound()


def test_snapshots_without_their_image_are_no_damage(cais, pushed):
    """As a pull leaves them that is killed when all is unpacked; the tars are another program's."""
    cais("pull", "-q", pushed)
    with sqlite3.connect(cais.root / "cais.db") as database:
        for table in ("tags", "images", "edges"):
            database.execute(f"DELETE FROM {table}")
    assert cais("system", "check").returncode == 0
    # The next pull finds them: they are an image's then, and are compared with its tars.
    cais("pull", "-q", pushed)
    cais.assert_sound()
    file = next((cais.root / "snapshots").glob("*/fs/file0"))
    file.write_bytes(b"damaged")
    assert "has other files than its layer" in cais("system", "check", check=False).stdout


def test_killed_at_random_moments(cais, pushed):
    chance = random.Random(5)
    done = 0
    while done < KILLS:
        process = cais.start("pull", "-q", pushed)
        try:
            process.wait(chance.uniform(0.05, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
            if images(cais):
                # Killed after all of it was there: again from the beginning.
                cais("rmi", pushed)
        else:
            assert process.returncode == 0
            cais("rmi", pushed)
    cais.assert_sound()
    assert cais("pull", "-q", pushed).stdout == f"{pushed}\n"
    cais.assert_sound()
    cais("rmi", pushed)
    # Nothing is left of any of them.
    assert not any((cais.root / "content/blobs/sha256").iterdir())
    assert not any((cais.root / "snapshots").iterdir())


def test_an_interrupt_ends_it_cleanly_and_the_rest_comes_later(cais, pushed, open_registry):
    with Asked(open_registry) as first:
        process = cais.start("pull", pushed, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in process.stdout:
            if b"Pull complete" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was faster than the interrupt")
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert images(cais) == ""
    with Asked(open_registry) as second:
        cais("pull", pushed)
    assert len(second.of("GET", "/blobs/sha256")) < LAYERS + 1, (first.requests, second.requests)
    cais.assert_sound()


def test_a_full_disk(cais, pushed, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], check=True)
    try:
        cais.root = small / "root"
        cais.environment["CAIS_ROOT"] = str(cais.root)
        done = cais("pull", pushed, check=False)
        assert done.returncode == 1 and "no space left on device" in done.stderr.lower(), done.stderr
        assert "Traceback" not in done.stderr
        assert images(cais) == ""
        cais("image", "prune", "-f")
        cais.assert_sound()
        free = os.statvfs(small)
        assert free.f_bavail * free.f_frsize > 7 << 20
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_push_that_is_killed_is_pushed_again(cais, pushed, source, open_registry):
    cais("pull", "-q", pushed)
    target = pushed.replace(":1", "-other:1")
    cais("tag", pushed, target)
    chance = random.Random(6)
    for _ in range(KILLS // 3):
        process = cais.start("push", target)
        try:
            process.wait(chance.uniform(0.1, 0.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    cais("push", target)
    assert source.pull(target).digest == source.engine.images.get(pushed).digest
    cais.assert_sound()
