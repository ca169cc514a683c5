"""Volumes that are a file system from elsewhere: shared while a container has them, gone with the last one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

NO_NETWORK = ("--network", "none")


def run(cais, *words: str, **options):
    return cais("run", "--rm", *NO_NETWORK, *words, **options)


def test_a_tmpfs_is_one_for_all_that_have_it_and_goes_with_the_last(cais_with_base):
    cais = cais_with_base
    cais("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "memory")
    place = json.loads(cais("volume", "inspect", "memory").stdout)[0]["Mountpoint"]
    cais("run", "-d", "--name", "first", *NO_NETWORK, "-v", "memory:/m", "base", "sleep", "1000")
    run(cais, "-v", "memory:/m", "base", "sh", "-c", "echo shared > /m/file")
    assert cais("exec", "first", "sh", "-c", "cat /m/file; stat -c %u /m").stdout == "shared\n7\n"
    assert cais("volume", "cp", "memory:/file", "-").stdout.startswith("file\0")
    assert "volume is in use" in cais("volume", "rm", "memory", check=False).stderr
    assert os.listdir(place) == []  # this mount namespace has nothing of it
    full = run(cais, "-v", "memory:/m", "base", "sh", "-c", "dd if=/dev/zero of=/m/big bs=1M count=5", check=False)
    assert full.returncode == 1 and "No space left" in full.stderr
    cais("rm", "-f", "first")
    assert run(cais, "-v", "memory:/m", "base", "ls", "/m").stdout == ""
    with open("/proc/self/mountinfo") as lines:
        assert not any(place in line for line in lines)


def test_a_directory_is_bound_while_a_container_has_it(cais_with_base, tmp_path):
    cais = cais_with_base
    (tmp_path / "there").mkdir()
    cais("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", f"device={tmp_path}/there", "bound")
    (tmp_path / "there" / "file").write_text("here")
    assert run(cais, "-v", "bound:/b", "base", "cat", "/b/file").stdout == "here"
    assert run(cais, "-v", "bound:/b", "base", "touch", "/b/new", check=False).returncode == 1
    (tmp_path / "there" / "file").unlink()
    (tmp_path / "there").rmdir()
    gone = run(cais, "-v", "bound:/b", "base", "true", check=False)
    assert gone.returncode == 125 and "failed to mount local volume: mount" in gone.stderr
    assert "no such file or directory\nThe device of the volume is not there." in gone.stderr


def test_the_first_use_fills_what_is_mounted(cais_with_base, tmp_path):
    """In a tmpfs, and in a directory of this host; not where it may not be written."""
    cais = cais_with_base
    context = cais.context("seeded", "FROM base\nCOPY seed /seed/seed\n", [("seed", b"seed")])
    cais("build", "-q", "-t", "seeded", str(context))
    cais("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    assert run(cais, "-v", "memory:/seed", "seeded", "cat", "/seed/seed").stdout == "seed"
    for name, option in (("bound", "bind"), ("fixed", "bind,ro")):
        (tmp_path / name).mkdir()
        cais("volume", "create", "-o", "type=none", "-o", f"o={option}", "-o", f"device={tmp_path}/{name}", name)
        run(cais, "-v", f"{name}:/seed", "seeded", "true")
    assert (tmp_path / "bound" / "seed").read_text() == "seed" and os.listdir(tmp_path / "fixed") == []


def test_a_file_system_that_the_kernel_lacks(cais_with_base):
    cais = cais_with_base
    cais("volume", "create", "-o", "type=nonesuch", "-o", "device=x", "-o", "o=a=b", "odd")
    done = run(cais, "-v", "odd:/o", "base", "true", check=False)
    assert done.returncode == 125
    assert "flags" not in done.stderr and "data: a=b: no such device" in done.stderr
    assert "The kernel of this host has no file system 'nonesuch'." in done.stderr


def test_a_volume_that_runs_is_renamed_and_stays_what_it_is(cais_with_base):
    """Also anonymous ones, which are kept from then on."""
    cais = cais_with_base
    cais("run", "-d", "--name", "user", *NO_NETWORK, "-v", "/m", "base", "sleep", "1000")
    name = cais("volume", "ls", "-q").stdout.strip()
    cais("volume", "rename", name, "kept")
    cais("exec", "user", "sh", "-c", "echo more > /m/file")
    mount = json.loads(cais("inspect", "user").stdout)[0]["Mounts"][0]
    assert mount["Name"] == "kept" and Path(mount["Source"], "file").read_text() == "more\n"
    cais("restart", "-t", "0", "user")
    assert cais("exec", "user", "cat", "/m/file").stdout == "more\n"
    cais("rm", "-fv", "user")
    assert cais("volume", "ls", "-q").stdout == "kept\n"


def test_what_runs_keeps_its_files(cais_with_base, tmp_path):
    cais = cais_with_base
    run(cais, "-v", "data:/d", "base", "sh", "-c", "echo one > /d/file")
    cais("volume", "snapshot", "data", "one")
    cais("volume", "export", "-o", str(tmp_path / "data.tar"), "data")
    cais("run", "-d", "--name", "user", *NO_NETWORK, "-v", "data:/d", "base", "sleep", "1000")
    for words in (("restore", "data", "one"), ("import", "data", str(tmp_path / "data.tar"))):
        assert "volume is in use - [" in cais("volume", *words, check=False).stderr
    cais("volume", "cp", "/etc/passwd", "data:/file")
    assert cais("exec", "user", "cat", "/d/file").stdout == Path("/etc/passwd").read_text()
    before = cais("volume", "ls", "--size").stdout
    cais("exec", "user", "sh", "-c", "dd if=/dev/zero of=/d/big bs=1M count=1")
    assert cais("volume", "ls", "--size").stdout != before
    cais("stop", "-t", "0", "user")
    cais("volume", "restore", "data", "one")
    cais("start", "user")
    assert cais("exec", "user", "cat", "/d/file").stdout == "one\n"
    cais("rm", "-f", "user")
