"""What is wrong with a container, its name, ports, volumes, disk: one line, Docker's exit code, nothing left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_process import wait_until
from own_host import OwnHost

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def host(busybox_tar, tmp_path_factory) -> Iterator[OwnHost]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("conmon", "unshare", "nft", "ip"))):
        pytest.skip("needs root, conmon, nftables, iproute2")
    made = OwnHost(tmp_path_factory.mktemp("bad"))
    made("import", str(busybox_tar), "box")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def clean(host: OwnHost) -> Iterator[None]:
    before = host.machine()
    yield
    for id in host("ps", "-aq").split():
        host("rm", "-fv", id)
    host("network", "prune", "-f")
    host("volume", "prune", "-af")
    wait_until(lambda: host.machine() == before)
    assert host("system", "check") == "All is well\n"


def refused(host: OwnHost, code: int, *words: str) -> str:
    """What a command says; nothing stays of what it began."""
    before = host("ps", "-aq")
    said = host(*words, code=code)
    if "-d" in words:
        said = re.sub("^[0-9a-f]{64}\n", "", said)  # its id is known once it was made
    assert said.startswith("Error: ") and "Traceback" not in said and "internal error" not in said, said
    assert host("ps", "-aq") == before
    return said


def test_names(host):
    host("create", "--name", "taken", "box", "true")
    assert '"/taken" is already in use' in refused(host, 125, "run", "-d", "--name", "taken", "box", "true")
    assert '"/taken" is already in use' in refused(host, 1, "rename", host("create", "box", "true").strip(), "taken")
    for name in ("a b", "../x", "-x", "ä", "x" * 300 + "/", "'"):
        assert "Invalid container name" in refused(host, 125, "run", "-d", f"--name={name}", "box", "true"), name
    for words in (("start",), ("stop",), ("rm",), ("exec", "x"), ("kill",), ("logs",), ("pause",), ("wait",)):
        nobody = (words[0], "nobody", *words[1:])
        assert "No such container: nobody" in refused(host, 1, *nobody)


def test_an_id_that_is_ambiguous(host):
    ids: list[str] = []
    while len({id[0] for id in ids}) == len(ids):
        ids.append(host("create", "box", "true").strip())
    first = next(id[0] for id in ids if [other[0] for other in ids].count(id[0]) > 1)
    assert f"multiple IDs found with provided prefix: {first}" in refused(host, 1, "start", first)
    assert "multiple IDs found" in refused(host, 1, "rm", first)


def test_ports(host):
    host("run", "-d", "--name", "holder", "-p", "18080:80", "box", "sleep", "1000")
    said = host("run", "-d", "--name", "second", "-p", "18080:80", "box", "sleep", "1000", code=125)
    assert "port is already allocated" in said and "holder" in said
    host("rm", "second")
    script = "import socket; s = socket.create_server(('127.0.0.1', 18081)); print('up', flush=True); s.accept()"
    listener = subprocess.Popen(host._inside(sys.executable, "-c", script), stdout=subprocess.PIPE)
    assert listener.stdout.readline() == b"up\n"
    said = host("run", "-d", "--name", "third", "-p", "18081:80", "box", "sleep", "1000", code=125)
    listener.kill()
    listener.wait()
    assert "18081" in said and f"process {listener.pid}" in said
    host("start", "third")
    for text in ("70000:80", "80:70000", "x:80", "1.2.3:80:80", "80:80/tcpp", "9-8:8-9", "1-3:1-2"):
        refused(host, 125, "run", "-d", "-p", text, "box", "true")


def test_volumes_and_networks_in_use(host):
    host("network", "create", "net")
    host("run", "-d", "--name", "user", "--network", "net", "-v", "data:/data", "box", "sleep", "1000")
    assert "volume is in use" in refused(host, 1, "volume", "rm", "data")
    assert "has active endpoints" in refused(host, 1, "network", "rm", "net")
    assert "cannot be removed" in refused(host, 1, "network", "rm", "bridge")
    assert "nowhere not found" in refused(host, 125, "run", "-d", "--network", "nowhere", "--rm", "box", "true")
    assert "nowhere" in refused(host, 1, "network", "connect", "nowhere", "user")


def test_commands_that_cannot_run(host):
    assert "no command specified" in refused(host, 125, "run", "-d", "box").lower()
    for code, word in ((127, "nosuch"), (126, "/etc/passwd")):
        for how in ("--rm", "-d"):
            refused(host, code, "run", "--rm", how, "--network", "none", "box", word)
    host("create", "--name", "bad", "box", "nosuch")
    refused(host, 1, "start", "bad")
    assert host.state("bad")["ExitCode"] == 127


def test_what_ignores_its_signal_is_killed_in_time(host):
    host("run", "-d", "--name", "deaf", "box", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    began = time.monotonic()
    host("stop", "-t", "1", "deaf")
    assert 1 <= time.monotonic() - began < 20 and host.state("deaf")["ExitCode"] == 137
    host("start", "deaf")
    host("rm", "-f", "deaf")


@pytest.fixture
def small(busybox_tar, tmp_path) -> Iterator[OwnHost]:
    """A root directory on a file system of 12 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(path)], check=True)
    made = OwnHost(path / "root")
    made("import", str(busybox_tar), "box")
    made("run", "--rm", "--network", "none", "box", "true")
    yield made
    made.close()
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(directory: Path) -> Path:
    """Nothing more can be written there."""
    path = directory / "filler"
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk(small):
    """What cannot be made says so; what is there can be looked at, stopped, removed; afterwards all is as before."""
    before = small.machine()
    small("create", "--name", "made", "-p", "18080:80", "box", "sleep", "1000")
    small("run", "-d", "--name", "up", "box", "sh", "-c", "while :; do sleep 0.1; done")
    filler = fill(small.root.parent)
    for words in (("create", "box", "true"), ("run", "-d", "--rm", "box", "true"), ("start", "made")):
        said = small(*words, code=1 if words[0] == "start" else 125)
        assert "no space left" in said.lower() and "Traceback" not in said, (words, said)
    assert "up" in small("ps") and small.state("made")["Status"] in ("created", "exited")
    small("stop", "-t", "0", "up", code=None)
    wait_until(lambda: not small.alive())
    assert small.state("up")["Status"] == "exited"
    filler.unlink()
    small("start", "made")
    small("rm", "-f", "made", "up")
    small("system", "check", "--repair", code=None)
    assert small("system", "check") == "All is well\n" and small("ps", "-aq") == ""
    wait_until(lambda: small.machine() == before)
    assert small.nothing_left()


def test_a_disk_that_fills_while_a_container_writes_its_log(small):
    # As beside any other command: alone on a disk without 32 KiB for its index SQLite does not even read.
    with contextlib.closing(sqlite3.connect(small.root / "cais.db")) as beside:
        beside.execute("SELECT count(*) FROM containers").fetchone()
        small("run", "-d", "--name", "loud", "box", "sh", "-c", "yes 0123456789012345678901234567890123456789")
        wait_until(lambda: os.statvfs(small.root).f_bavail == 0, 60)
        small("rm", "-f", "loud", code=None)
        wait_until(lambda: not small.alive())
    small("system", "check", "--repair", code=None)
    assert small("ps", "-aq") == "" and small("system", "check") == "All is well\n"
    small("run", "--rm", "--network", "none", "box", "true")


def test_a_root_directory_that_cannot_be_written(host):
    host("create", "--name", "there", "box", "true")
    subprocess.run(["mount", "--bind", str(host.root), str(host.root)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(host.root)], check=True)
        assert "there" in host("ps", "-a") and host.inspect("there")["Name"] == "/there"
        for words in (("create", "box", "true"), ("run", "-d", "box", "true")):
            assert "read-only" in refused(host, 125, *words).lower()
        for words in (("start", "there"), ("rm", "there"), ("rename", "there", "other"), ("network", "create", "no")):
            assert "read-only" in refused(host, 1, *words).lower()
    finally:
        subprocess.run(["umount", str(host.root)], check=True)
    assert host("rm", "there") == "there\n"
