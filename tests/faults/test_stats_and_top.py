"""What containers use, and which processes they have, as Docker shows it."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
from container_process import wait_until


@pytest.fixture(scope="module")
def busy(box):
    """One that keeps a processor busy, with two processes and a limit."""
    box("run", "-d", "--network", "none", "--name", "busy", "-m", "64m", "box", "sh", "-c",
        "sleep 1000 & while :; do :; done")  # fmt: skip
    yield box
    box("rm", "-f", "busy")


def test_stats(busy):
    said = busy("stats", "--no-stream", "busy").splitlines()
    assert said[0].split("  ")[0] == "CONTAINER ID"
    assert "MEM USAGE / LIMIT" in said[0]
    row = json.loads(busy("stats", "--no-stream", "--format", "json", "busy"))
    assert sorted(row) == [
        "BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs",
    ]  # fmt: skip
    assert (row["Container"], row["Name"], len(row["ID"])) == ("busy", "busy", 12)
    if row["CPUPerc"] != "--":
        assert float(row["CPUPerc"].rstrip("%")) > 1
        assert row["MemUsage"].endswith(" / 64MiB")
        assert row["PIDs"] == "2"
    assert row["NetIO"] == "0B / 0B"
    assert len(json.loads(busy("stats", "--no-stream", "--no-trunc", "--format", "json", "busy"))["ID"]) == 64
    assert busy("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}").startswith("busy ")


def test_stats_of_what_does_not_run(busy):
    busy("create", "--name", "still", "box")
    row = json.loads(busy("stats", "--no-stream", "--format", "json", "still"))
    assert (row["CPUPerc"], row["MemUsage"], row["PIDs"]) == ("0.00%", "0B / 0B", "0")
    assert "still" not in busy("stats", "--no-stream")
    assert "still" in busy("stats", "--no-stream", "-a")
    assert busy("stats", "--no-stream", "busy", "nobody", code=1) == "Error: No such container: nobody\n"
    assert busy("top", "still", code=1).endswith(" is not running\n")
    busy("rm", "still")


def test_a_stream_goes_on_until_it_is_interrupted(busy):
    watcher = busy.start("stats", "--format", "{{.Name}}", "busy")
    assert watcher.stdout.readline() == b"busy\n"
    assert watcher.stdout.readline() == b"busy\n"
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(20) == 130


def test_top(busy):
    if not shutil.which("ps"):
        pytest.skip("needs ps (package procps)")
    lines = busy("top", "busy").splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert sorted(line.split(None, 7)[7] for line in lines[1:]) == [
        "sh -c sleep 1000 & while :; do :; done",
        "sleep 1000",
    ]
    assert int(lines[1].split()[1]) == busy.pid("busy") or int(lines[2].split()[1]) == busy.pid("busy")
    lines = busy("top", "busy", "-o", "pid,comm").splitlines()
    assert lines[0] == f"{'PID':<20}COMMAND"
    assert sorted(line.split()[1] for line in lines[1:]) == ["sh", "sleep"]
    # Options that only choose columns show its processes whoever they run as, and a forest is a forest.
    busy("exec", "-d", "-u", "1000", "busy", "sleep", "2000")
    wait_until(lambda: "sleep 2000" in busy("top", "busy", "-o", "pid,args"))
    assert "sleep 2000" in busy("top", "busy", "-ef", "--forest")
    assert busy("top", "busy", "-o", "comm", code=1) == "Error: Couldn't find PID field in ps output\n"
    assert busy("top", "busy", "-o", "comm=PID", code=1) == 'Error: specifying "comm=PID" is not allowed\n'
    assert busy("top", "nobody", code=1) == "Error: No such container: nobody\n"


def test_top_without_ps(busy):
    from cais.engine import container_top

    titles, rows = container_top._listed([busy.pid("busy"), 1 << 30])
    assert titles[1] == "PID"
    (row,) = rows
    assert row[1] == str(busy.pid("busy"))
    assert row[7] == "sh -c sleep 1000 & while :; do :; done"
