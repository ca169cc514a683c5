"""What machines do: full disks, read-only and foreign root directories, clocks set back."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from cais_process import Cais

pytestmark = pytest.mark.root


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def assert_full(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0
    assert "No space left on device" in done.stderr or "no space left" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_during_build_load_and_commit(cais, small_disk, tmp_path):
    cais.root = small_disk / "root"
    cais.environment["CAIS_ROOT"] = str(cais.root)
    cais.make_base()
    before = cais("image", "ls", "-q", "--no-trunc").stdout
    copied = cais.context("copied", "FROM base\nCOPY large /large\n", [("large", os.urandom(40 << 20))])
    assert_full(cais("build", "-t", "large", str(copied), check=False))
    filled = cais.context("filled", "FROM base\nRUN dd if=/dev/zero of=/f bs=1M count=40\n")
    done = cais("build", "-t", "large", str(filled), check=False)
    assert done.returncode == 1 and "No space left on device" in done.stderr and "Traceback" not in done.stderr
    cais("create", "--name", "filler", "base", "true")
    cais("run", "--name", "full", "--network", "none", "base", "sh", "-c", "dd if=/dev/zero of=/f bs=1M count=9")
    cais.assert_sound()

    other = Cais(tmp_path)
    big = other.context("big", "FROM scratch\nCOPY large /large\n", [("large", os.urandom(40 << 20))])
    other("build", "-q", "-t", "big", str(big))
    archive = tmp_path / "big.tar"
    other("save", "-o", str(archive), "big")
    assert_full(cais("load", "-i", str(archive), check=False))
    cais.assert_sound()
    cais("container", "rm", "full", "filler")
    assert cais("image", "ls", "-q", "--no-trunc").stdout == before

    # There is room again: what failed works, and what was there is there.
    (copied / "large").write_bytes(b"small now")
    cais("build", "-q", "-t", "small", str(copied))
    assert (
        cais("run", "--rm", "--network", "none", "small", "sh", "-c", "read x < /large; echo $x").stdout
        == "small now\n"
    )
    cais.assert_sound()


def test_no_space_for_the_database(tmp_path, small_disk, cais):
    with open(small_disk / "filler", "wb") as filler:
        try:
            while True:
                filler.write(b"\0" * 65536)
                filler.flush()
        except OSError:
            pass
    cais.environment["CAIS_ROOT"] = str(small_disk / "root")
    done = cais("image", "ls", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "no space" in done.stderr.lower() or "unable to open" in done.stderr


def test_a_read_only_root_directory_can_be_read_and_says_why_not_written(cais_with_base):
    cais = cais_with_base
    subprocess.run(["mount", "--bind", str(cais.root), str(cais.root)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(cais.root)], check=True)
        assert "base" in cais("image", "ls").stdout
        done = cais("tag", "base", "other", check=False)
        assert done.returncode == 1 and "read-only" in done.stderr and "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(cais.root)], check=True)
    cais.assert_sound()


def test_another_users_root_directory_is_refused(cais_with_base, ordinary_user):
    cais = cais_with_base
    user = [f"--reuid={ordinary_user.user_id}", f"--regid={ordinary_user.group_id}", "--clear-groups"]
    done = subprocess.run(
        ["setpriv", *user, *cais.command("image", "ls")],
        env={**cais.environment, "HOME": str(ordinary_user.directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "root directory" in done.stderr or "ermission denied" in done.stderr


@pytest.mark.skipif(not shutil.which("faketime"), reason="needs faketime")
def test_a_clock_set_back_loses_nothing(cais_with_base):
    cais = cais_with_base
    context = cais.context("clock", "FROM base\nCOPY file /file\nRUN echo x > /x\n", [("file", b"one")])
    cais("build", "-q", "-t", "clock", str(context))
    past = ["faketime", "-f", "-3d", *cais.command("build", "-q", "-t", "clock2", str(context))]
    subprocess.run(past, env=cais.environment, check=True, capture_output=True)
    (context / "file").write_bytes(b"two")
    past = ["faketime", "-f", "-3d", *cais.command("build", "-q", "-t", "clock3", str(context))]
    subprocess.run(past, env=cais.environment, check=True, capture_output=True)
    done = cais("run", "--rm", "--network", "none", "clock3", "sh", "-c", "read x < /file; echo $x")
    assert done.stdout == "two\n"
    cais.assert_sound()
