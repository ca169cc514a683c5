"""Attached to containers that conmon holds: several at once, detached by keys, killed, resized, with any streams."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from container_process import Cais, wait_until

pytestmark = pytest.mark.root

ECHO = "stty -ixon 2>/dev/null; echo up; while read x; do echo got $x; done; echo end; exit 6"


@pytest.fixture(autouse=True)
def clean(box: Cais):
    yield
    for id in box("ps", "-aq").split():
        box("rm", "-f", id, code=None)
    assert box.nothing_left()


def test_nothing_is_lost_between_start_and_attach(box):
    for _ in range(5):
        process = box.start("run", "box", "sh", "-c", "echo first; echo err >&2; exit 3", stderr=subprocess.PIPE)
        assert process.communicate(timeout=60) == (b"first\n", b"err\n")
        assert process.returncode == 3


def test_much_goes_through_conmon(box):
    data = os.urandom(1 << 20) * 4
    process = box.start("run", "-i", "box", "cat", stdin=subprocess.PIPE)
    assert process.communicate(data, timeout=60)[0] == data


def test_a_slow_reader_loses_nothing(box):
    process = box.start("run", "box", "sh", "-c", "seq 1 200000")
    wait_until(lambda: box("ps", "-q") != "")
    wait_until(lambda: process.poll() is not None or _is_blocked(process.pid))
    said = process.communicate(timeout=60)[0]
    assert said == b"".join(b"%d\n" % number for number in range(1, 200001))


def _is_blocked(pid: int) -> bool:
    with open(f"/proc/{pid}/wchan") as file:
        return "pipe" in file.read()


def test_several_at_once(box):
    box("run", "-d", "-i", "--name", "many", "box", "sh", "-c", ECHO)
    first = box.start("attach", "many", stdin=subprocess.PIPE)
    second = box.start("attach", "--no-stdin", "many")
    third = box.start("start", "-ai", "many", stdin=subprocess.PIPE)
    readers = (first, second, third)
    wait_until(lambda: _attached(box, "many") == 3)
    first.stdin.write(b"one\n")
    first.stdin.flush()
    assert [process.stdout.readline() for process in readers] == [b"got one\n"] * 3
    first.kill()  # a detached container's input does not end with that of one who is gone
    first.wait()
    third.stdin.write(b"two\n")
    third.stdin.flush()
    assert [process.stdout.readline() for process in (second, third)] == [b"got two\n"] * 2
    box("kill", "many")
    assert [process.wait(20) for process in (second, third)] == [137, 137]


def _attached(box: Cais, name: str) -> int:
    """How many clients conmon has: its sockets that are connected, by the kernel's list."""
    bundle = box.root / "run" / box.inspect(name)["Id"]
    fds = f"/proc/{(bundle / 'conmon.pid').read_text().strip()}/fd"
    links = {os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)}
    with open("/proc/net/unix") as file:
        connected = {f"socket:[{line.split()[6]}]" for line in file if line.split()[5] == "03"}
    return len(links & connected)


def test_the_end_of_input_is_passed_on(box):
    process = box.start("run", "-i", "box", "sh", "-c", ECHO, stdin=subprocess.PIPE)
    assert process.communicate(b"a\nb\n", timeout=60)[0] == b"up\ngot a\ngot b\nend\n"
    assert process.returncode == 6


def test_who_has_no_input_does_not_end_it(box):
    first = box.start("run", "-i", "--name", "once", "box", "sh", "-c", ECHO, stdin=subprocess.PIPE)
    assert first.stdout.readline() == b"up\n"
    second = box.start("attach", "--no-stdin", "--sig-proxy=false", "once")
    wait_until(lambda: _attached(box, "once") == 2)
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 130
    first.stdin.write(b"still\n")
    first.stdin.flush()
    assert first.stdout.readline() == b"got still\n"
    first.stdin.close()
    assert first.wait(20) == 6


@pytest.mark.parametrize(
    ("flags", "out", "err"),
    [
        (["-a", "stdout"], "out\n", ""),
        (["-a", "stderr"], "", "err\n"),
        (["-a", "STDOUT", "-a", "stderr"], "out\n", "err\n"),
        (["--rm", "-a", "stderr"], "", "err\n"),
    ],
)
def test_chosen_streams(box, flags, out, err):
    process = box.start("run", *flags, "box", "sh", "-c", "echo out; echo err >&2", stderr=subprocess.PIPE)
    assert process.communicate(timeout=60) == (out.encode(), err.encode())


def test_without_an_output_the_id_is_said(box):
    said = box("run", "-a", "stdin", "box", "echo", "unseen").strip()
    assert said == box.inspect(said)["Id"]
    assert box("logs", said) == "unseen\n"
    assert "cannot specify both --attach and --detach" in box("run", "-d", "-a", "stdout", "box", "true", code=1)
    assert "valid streams are STDIN, STDOUT and STDERR" in box("run", "-a", "foo", "box", "true", code=125)


def test_detached_and_attached_again(box):
    terminal = box.at_terminal("run", "-it", "--name", "term", "box", "sh")
    terminal.type("stty size; echo la''st\n")
    assert "33 77" in terminal.read_until("last")
    terminal.type(b"\x10\x11")
    assert terminal.wait() == 0
    assert terminal.is_restored
    terminal.close()
    assert box.state("term")["Status"] == "running"
    again = box.at_terminal("attach", "term", rows=20, columns=50)
    again.type("stty size\n")
    again.read_until("20 50")
    again.resize(40, 100)
    again.type("stty size\n")
    again.read_until("40 100")
    again.type("exit 5\n")
    assert again.wait() == 5
    again.close()
    third = box.at_terminal("start", "--detach-keys", "ctrl-a,x", "-ai", "term")
    third.type("echo re''started\n")
    third.read_until("restarted")
    third.type(b"\x01x")
    assert third.wait() == 0
    third.close()
    fourth = box.at_terminal("attach", "--detach-keys", "q", "term")
    fourth.type("q")
    assert fourth.wait() == 1
    assert b"read escape sequence" in fourth.said
    fourth.close()
    assert box.state("term")["Status"] == "running"


def test_job_control_in_a_container_of_its_own(box):
    terminal = box.at_terminal("run", "--rm", "-it", "--name", "jobs", "box", "sh")
    terminal.type("set -m; sleep 700\n")
    wait_until(lambda: "sleep 700" in box("exec", "jobs", "ps", code=None))
    terminal.type(b"\x1a")
    terminal.read_until("Stopped")
    terminal.type("bg; jobs\n")
    terminal.read_until("Running")
    terminal.type("kill %1; exit 8\n")
    assert terminal.wait() == 8
    terminal.close()
    assert box("ps", "-aq") == ""


def test_a_killed_client_leaves_the_container(box):
    terminal = box.at_terminal("run", "-it", "--name", "alone", "box", "sh", "-c", ECHO)
    terminal.read_until("up")
    terminal.process.kill()
    terminal.process.wait()
    assert box.state("alone")["Running"]
    again = box.at_terminal("attach", "alone")
    again.type("hello\n")
    again.read_until("got hello")
    again.close()


def test_signals_go_to_the_container_unless_switched_off(box):
    script = "trap 'echo usr1; exit 9' USR1; echo up; while :; do sleep 0.05; done"
    box("run", "-d", "--name", "proxied", "box", "sh", "-c", script)
    deaf = box.start("attach", "--sig-proxy=false", "proxied")
    hearing = box.start("attach", "proxied")
    wait_until(lambda: _attached(box, "proxied") == 2)
    deaf.send_signal(signal.SIGTERM)
    assert deaf.wait(20) == 143
    hearing.send_signal(signal.SIGUSR1)
    assert hearing.communicate(timeout=20)[0] == b"usr1\n"
    assert hearing.returncode == 9


def test_why_nobody_can_attach(box):
    box("create", "--name", "still", "box", "true")
    assert "You cannot attach to a stopped container, start it first" in box("attach", "still", code=1)
    box("run", "-d", "--name", "orphan", "box", "sleep", "1000")
    box("pause", "orphan")
    assert "You cannot attach to a paused container, unpause it first" in box("attach", "orphan", code=1)
    box("unpause", "orphan")
    bundle = box.root / "run" / box.inspect("orphan")["Id"]
    os.kill(int((bundle / "conmon.pid").read_text()), signal.SIGKILL)
    assert "conmon, which held its streams, has been killed" in box("attach", "orphan", code=1)
    assert box.state("orphan")["Status"] == "running"
    assert box("exec", "orphan", "echo", "in") == "in\n"
    box("stop", "-t", "0", "orphan")
    assert box.state("orphan")["Status"] == "exited"
    direct = box.start("run", "--rm", "--name", "direct", "box", "sh", "-c", "echo up; sleep 1000")
    direct.stdout.readline()
    assert "its streams belong to the command that started it" in box("attach", "direct", code=1)
    box("kill", "direct")
    assert direct.wait(20) == 137


def test_conmon_weighs_little_and_is_alone(box):
    box("run", "-d", "--name", "light", "box", "sleep", "1000")
    id = box.inspect("light")["Id"]
    pid = int((box.root / "run" / id / "conmon.pid").read_text())
    with open(f"/proc/{pid}/smaps_rollup") as file:
        sizes = dict(line.split()[:2] for line in file if line.startswith(("Rss", "Pss")))
    print(sizes)
    assert int(sizes["Rss:"]) <= 3 << 10
    others = [entry for entry in os.listdir("/proc") if entry.isdigit() and _concerns(entry, str(box.root))]
    assert others == [str(pid)]


def _concerns(pid: str, text: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return text.encode() in file.read()
    except OSError:
        return False
