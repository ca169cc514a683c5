"""Logs of real containers: limits that hold, followed to the end, a disk that is full."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from container_process import Cais, wait_until

_COUNT = "i=0; while [ $i -lt {} ]; do echo line $i; i=$((i+1)); done"


def _writers(directory: Path) -> int:
    """How many processes write logs below ``directory``."""
    found = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            found += b"cais-log" in words and os.fsencode(directory) in words
    return found


def _files(box, name: str) -> dict[str, int]:
    directory = Path(box.inspect(name)["LogPath"]).parent
    return {path.name: path.stat().st_size for path in directory.iterdir() if path.name.startswith("log")}


@pytest.mark.parametrize(("files", "more"), [(1, ()), (3, ()), (3, ("--log-opt", "compress=true"))])
def test_the_limits_hold(box, files, more):
    name = f"limits{files}{len(more)}"
    box("run", "-d", "--network", "none", "--name", name, "--log-opt", "max-size=20k", "--log-opt", f"max-file={files}",
        *more, "box", "sh", "-c", _COUNT.format(4000))  # fmt: skip
    assert box("wait", name) == "0\n"
    directory = Path(box.inspect(name)["LogPath"]).parent
    wait_until(lambda: _writers(directory) == 0)
    sizes = _files(box, name)
    assert len(sizes) == files
    assert all(size <= 20_000 for size in sizes.values())
    lines = box("logs", name).splitlines()
    # Nothing is missing between the files, and the end is there.
    assert lines == [f"line {number}" for number in range(4000 - len(lines), 4000)]
    assert len(lines) > 300 * (files - 1)
    assert box("logs", "--tail", "3", name) == "line 3997\nline 3998\nline 3999\n"
    config = box.inspect(name)["HostConfig"]["LogConfig"]
    assert config["Type"] == "json-file"
    assert config["Config"]["max-file"] == str(files)
    box("rm", name)


def _mover(directory: Path) -> int:
    """The process that moves what comes to the log below ``directory``: ``head``, a child of the writer."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
                words = Path(f"/proc/{parent}/cmdline").read_bytes()
                is_head = Path(f"/proc/{name}/comm").read_text() == "head\n"
            except OSError:
                continue
            if is_head and b"cais-log" in words and os.fsencode(directory) in words:
                return int(name)
    return 0


def test_what_is_still_on_its_way_to_a_log_with_limits_is_waited_for(box):
    box("run", "-d", "--network", "none", "--name", "late", "--log-opt", "max-size=1m", "box",
        "sh", "-c", "echo first; while [ ! -e /end ]; do sleep 0.05; done; echo last")  # fmt: skip
    wait_until(lambda: box("logs", "late") == "first\n")
    mover = _mover(Path(box.inspect("late")["LogPath"]).parent)
    os.kill(mover, signal.SIGSTOP)
    try:
        box("exec", "late", "touch", "/end")
        assert box("wait", "late") == "0\n"
        reader = box.start("logs", "late")
        waits = Path(f"/proc/{reader.pid}/wchan")
        wait_until(lambda: reader.poll() is not None or "nanosleep" in waits.read_text())
    finally:
        os.kill(mover, signal.SIGCONT)
    assert reader.communicate(timeout=20)[0] == b"first\nlast\n"
    box("rm", "late")


def test_followed_over_new_files_to_the_end(box):
    box("run", "-d", "--network", "none", "--name", "followed", "--log-opt", "max-size=30k", "--log-opt", "max-file=50",
        "box", "sh", "-c", _COUNT.format(10000))  # fmt: skip
    lines = box("logs", "-f", "followed").splitlines()
    assert lines == [f"line {number}" for number in range(10000)]
    box("rm", "-f", "followed")


def test_followed_from_the_tail_until_it_is_removed(box):
    box("run", "-d", "--network", "none", "--name", "gone", "box", "sh", "-c", "echo a; echo b; sleep 1000")
    wait_until(lambda: box("logs", "gone") == "a\nb\n")
    follower = box.start("logs", "-f", "--tail", "1", "gone")
    assert follower.stdout.readline() == b"b\n"
    box("rm", "-f", "gone")
    assert follower.wait(20) == 0
    assert follower.stdout.read() == b""


def _large_log(box, name: str) -> bytes:
    """A container with more of a log than one process writes; what it has written."""
    box("create", "--network", "none", "--name", name, "box", "true")
    path = Path(box.inspect(name)["LogPath"])
    texts = [b"%d %b\n" % (number, b"x" * 200) for number in range(170_000)]
    path.write_bytes(b"".join(b"2026-11-23T14:08:07.%09d+00:00 stdout F %b" % pair for pair in enumerate(texts)))
    return b"".join(texts)


def test_a_large_one_is_written_by_several_processes(box, tmp_path):
    wanted = _large_log(box, "large")
    with open(tmp_path / "out", "wb") as out:
        subprocess.run(box.command("logs", "large"), env=box.env, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == wanted
    reader = box.start("logs", "large", stderr=subprocess.PIPE)
    assert reader.stdout.read(1 << 20) == wanted[: 1 << 20]  # it is at its work, and waits for the rest to be read
    children = Path(f"/proc/{reader.pid}/task/{reader.pid}/children").read_text().split()
    if not children:
        pytest.skip("this host has one processor")
    os.kill(int(children[0]), signal.SIGKILL)
    assert wanted[1 << 20 :].startswith(reader.stdout.read())
    assert reader.stderr.read() == b"Error: one of the processes that write the log was killed\n"
    assert reader.wait(60) == 1
    reader = box.start("logs", "large", stderr=subprocess.PIPE)
    assert reader.stdout.read(1 << 20)
    reader.stdout.close()  # as `head` does
    assert (reader.stderr.read(), reader.wait(60)) == (b"", 141)
    box("rm", "large")


def test_two_streams_times_and_details(box):
    box("run", "-d", "--network", "none", "--name", "two", "--label", "app=a b", "--log-opt", "labels=app",
        "box", "sh", "-c", "echo out; echo err >&2; printf part; echo ed")  # fmt: skip
    box("wait", "two")
    done = subprocess.run(box.command("logs", "two"), env=box.env, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"out\nparted\n", b"err\n")
    done = subprocess.run(box.command("logs", "-t", "--details", "two"), env=box.env, capture_output=True, check=True)
    stamp, details, text = done.stdout.splitlines()[0].decode().split(" ")
    assert (len(stamp), stamp[-1], details, text) == (30, "Z", "app=a+b", "out")
    assert len(done.stdout.splitlines()) == 2
    assert box("logs", "--since", "1h", "--until", "0s", "two", code=0).count("\n") == 3
    assert box("logs", "--since", stamp, "--until", stamp, "two").startswith("out\n")
    assert box("logs", "--until", "1h", "two") == ""
    box("rm", "two")


def test_followed_over_a_restart(box):
    """The end of one run is not the end where a restart follows; the log goes on."""
    box("run", "-d", "--network", "none", "--name", "again", "--restart", "on-failure:2", "box", "sh", "-c",
        "echo run; exit 1")  # fmt: skip
    assert box("logs", "-f", "again") == "run\nrun\nrun\n"
    box("rm", "-f", "again")


def test_drivers(box):
    box("run", "-d", "--network", "none", "--name", "silent", "--log-driver", "none", "box", "echo", "hi")
    box("wait", "silent")
    assert box("logs", "silent", code=1) == "Error: configured logging driver does not support reading\n"
    assert box.inspect("silent")["LogPath"] == ""
    assert box.inspect("silent")["HostConfig"]["LogConfig"] == {"Type": "none", "Config": {}}
    box("run", "-d", "--network", "none", "--name", "locally", "--log-driver", "local", "box", "echo", "hi")
    box("wait", "locally")
    wait_until(lambda: box("logs", "locally") == "hi\n")
    said = box("run", "-d", "--network", "none", "--log-driver", "gelf", "box", "true", code=125)
    assert "'gelf' is not supported by cais" in said
    assert "json-file, local, journald and none" in said
    if not os.path.exists("/run/systemd/journal/socket"):
        said = box("run", "-d", "--network", "none", "--log-driver", "journald", "box", "true", code=125)
        assert "journald is not enabled on this host" in said
    box("rm", "silent", "locally")


@pytest.mark.long
@pytest.mark.parametrize("limits", [(), ("--log-opt", "max-size=100m")])
def test_a_full_disk_does_not_stop_the_container(busybox_tar, tmp_path, limits):
    """What is written while the disk is full is lost; the container goes on, and its log after it, too."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a tmpfs")
    root = tmp_path / "root"
    root.mkdir()
    box = Cais(root)
    box("import", "--change", "CMD sh", str(busybox_tar), "box")
    box("create", "--name", "full", "--network", "none", *limits, "box", "sh", "-c",
        f"trap 'echo after' USR1; {_COUNT.format(20000)}; >/tmp/done; while :; do sleep 0.05; done")  # fmt: skip
    directory = root / "containers" / box.inspect("full")["Id"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(directory)], check=True)
    try:
        box("start", "full")
        wait_until(lambda: not box("exec", "full", "cat", "/tmp/done", code=None), 60)
        assert box.state("full")["Running"]
        lines = box("logs", "full").splitlines()
        assert lines[:100] == [f"line {number}" for number in range(100)]
        assert 1000 < len(lines) < 20000
        log, pid = directory / "log", box.pid("full")

        def is_written() -> bool:
            if log.stat().st_size > 100_000:
                os.truncate(log, 50_000)  # more than once: what is still on its way may fill it again
            os.kill(pid, signal.SIGUSR1)
            return box("logs", "--tail", "1", "full").endswith("after\n")

        wait_until(is_written, 60)
    finally:
        box("kill", "full", code=None)
        box("wait", "full", code=None)
        subprocess.run(["umount", "-l", str(directory)], check=True)
        box("rm", "-f", "full", code=None)
    wait_until(lambda: _writers(directory) == 0)
