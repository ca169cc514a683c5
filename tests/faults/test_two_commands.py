"""States that are true whatever is done at once, or killed: two commands on one container, pauses, waits, removals."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from container_process import Cais, wait_until

from cais.host.locks import FileLock

pytestmark = pytest.mark.root

PATIENT = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def clean(box: Cais):
    yield
    for id in box("ps", "-aq").split():
        box("rm", "-f", id, code=None)
    assert box.nothing_left()
    assert os.listdir(box.root / "containers") == []


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    said = process.communicate(timeout=60)
    return process.returncode, (said[0] + (said[1] or b"")).decode()


def both(box: Cais, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """The commands at once: (exit code, what was said) of each."""
    return [finished(process) for process in [box.start(*words, stderr=subprocess.PIPE) for words in commands]]


def test_pause_and_unpause(box):
    box("run", "-d", "--name", "one", "box", "sh", "-c", PATIENT)
    box("run", "-d", "--name", "two", "box", "sh", "-c", PATIENT)
    id = box.inspect("one")["Id"]
    assert box("pause", "one", "two") == "one\ntwo\n"
    assert box("pause", "one", code=1) == f"Error: Container {id} is already paused\n"
    assert box("exec", "one", "true", code=1) == "Error: Container one is paused, unpause the container before exec\n"
    state = box.state("one")
    assert (state["Status"], state["Running"], state["Paused"]) == ("paused", True, True)
    assert box("ps", "--format", "{{.Status}}", "--filter", "status=paused").count("(Paused)") == 2
    message = 'Error: cannot remove container "/one": container is paused and must be unpaused first\n'
    assert box("rm", "one", code=1) == message
    assert "cannot start a paused container, try unpause instead" in box("start", "one", code=1)
    assert box("unpause", "one") == "one\n"
    assert box("unpause", "one", code=1) == f"Error: Container {id} is not paused\n"
    assert box("exec", "one", "echo", "goes on") == "goes on\n"
    box("pause", "one")
    box("stop", "-t", "5", "one")  # it gets the signal, and is resumed to answer it
    assert box.state("one")["ExitCode"] == 0
    assert box("pause", "one", code=1) == f"Error: container {id} is not running\n"
    box("kill", "two")
    assert box.state("two")["ExitCode"] == 137
    box("start", "two")
    box("pause", "two")
    box("rm", "-f", "two")


def test_restart(box):
    box("run", "-d", "--name", "again", "box", "sh", "-c", "trap 'exit 3' INT; echo up; while :; do sleep 0.05; done")
    pid = box.pid("again")
    wait_until(lambda: box("logs", "again") == "up\n")
    assert box("restart", "-s", "INT", "-t", "20", "again") == "again\n"
    assert box.pid("again") != pid
    wait_until(lambda: box("logs", "again") == "up\nup\n")
    box("stop", "-t", "0", "again")
    box("restart", "again")
    assert box.state("again")["Running"]
    assert "invalid signal: FOO" in box("restart", "-s", "FOO", "again", code=1)
    assert box("stop", "-s", "FOO", "again", code=1) == "Error: cannot stop container: again: invalid signal: FOO\n"
    assert "the linux daemon does not support signal 99" in box("kill", "-s", "99", "again", code=1)
    assert "No such container: nobody" in box("restart", "nobody", "again", "-t", "0", code=1)


def test_waits(box):
    box("create", "--name", "late", "box", "sh", "-c", PATIENT)
    assert box("wait", "late") == "0\n"
    following = box.start("wait", "--condition", "next-exit", "late")
    gone = box.start("wait", "--condition", "removed", "late", "late")
    box("start", "late")
    wait_until(lambda: box("logs", "late") == "up\n")
    running = box.start("wait", "late")
    box("stop", "late")
    assert finished(following) == (0, "0\n")
    assert finished(running) == (0, "0\n")
    assert gone.poll() is None
    box("rm", "late")
    code, said = finished(gone)
    assert said.startswith("0\n") and code in (0, 1)
    assert "invalid condition" in box("wait", "--condition", "later", "late", code=125)


def waiting(box: Cais, id: str) -> subprocess.Popen[bytes]:
    """A ``wait`` that is at its work."""
    process = box.start("wait", id, stderr=subprocess.PIPE)
    lock = box.root / "containers" / id / "witness"
    wait_until(lambda: lock.exists() and not FileLock(str(lock)).acquire(blocking=False))
    return process


def test_the_exit_code_of_what_is_removed_with_its_end_is_known(box):
    for number in range(3, 6):
        script = f"until [ -e /go ]; do sleep 0.02; done; exit {number}"
        id = box("run", "-d", "--rm", "box", "sh", "-c", script).strip()
        late = waiting(box, id)
        box("exec", id, "touch", "/go")
        assert finished(late) == (0, f"{number}\n")
        wait_until(lambda: box("ps", "-aq") == "")


def test_the_exit_code_of_what_ran_in_the_foreground_is_known(box):
    running = box.start("run", "--rm", "-i", "box", "sh", "-c", "read word; exit 7", stdin=subprocess.PIPE)
    wait_until(lambda: box("ps", "-q"))
    late = waiting(box, box("ps", "-q", "--no-trunc").strip())
    late.send_signal(signal.SIGSTOP)
    running.communicate(b"go\n", timeout=60)  # it waits for who waits for it, and not for ever
    assert running.returncode == 7
    late.send_signal(signal.SIGCONT)
    assert finished(late) == (0, "7\n")
    box("create", "box")  # whoever comes next removes it
    assert box("ps", "-aq").count("\n") == 1


def test_the_exit_code_of_what_is_removed_while_it_runs_is_known(box):
    for _ in range(3):
        box("run", "-d", "--name", "short", "box", "sleep", "1000")
        late = waiting(box, box.inspect("short")["Id"])
        box("rm", "-f", "short")
        assert finished(late) == (0, "137\n")


@pytest.mark.parametrize("how", [("stop", "-t", "20"), ("stop", "-t", "0"), ("kill",)], ids=" ".join)
def test_what_is_removed_with_its_end_is_gone_when_it_is_stopped(box, how):
    for _ in range(3):
        box("run", "-d", "--rm", "--name", "short", "-v", "/anonymous", "box", "sh", "-c", PATIENT)
        wait_until(lambda: box("logs", "short") == "up\n")
        box(*how, "short")
        assert box("ps", "-aq") + box("volume", "ls", "-q") == ""
    running = box.start("run", "--rm", "--name", "short", "box", "sh", "-c", PATIENT)
    wait_until(lambda: box("ps", "-q"))
    box(*how, "short")
    assert box("ps", "-aq") == ""
    assert finished(running)[0] in (0, 137, 143)


def test_after_a_kill_it_does_not_run(box):
    for _ in range(3):
        box("run", "-d", "--name", "short", "box", "sleep", "1000")
        box("kill", "short")
        assert box.state("short")["Status"] == "exited"
        box("rm", "short")


def test_a_restart_keeps_what_is_removed_with_its_end(box):
    for flags in (("-d",), ("-d", "-t")):
        id = box("run", *flags, "--rm", "--name", "kept", "box", "sh", "-c", PATIENT).strip()
        for _ in range(3):
            box("restart", "-t", "0", "kept")
            assert box.inspect("kept")["Id"] == id and box.state("kept")["Running"]
        box("stop", "-t", "0", "kept")
        assert box("ps", "-aq") == ""


def test_memory_that_is_used_up_is_told(box):
    if "memory" not in Path("/proc/cgroups").read_text():
        pytest.skip("needs the memory controller")
    script = "x=0123456789; while :; do x=$x$x; done"
    box("run", "-m", "16m", "--memory-swap", "16m", "--name", "greedy", "box", "sh", "-c", script, code=137)
    assert box.state("greedy")["OOMKilled"] is True


def test_start_and_start(box):
    box("create", "--name", "twice", "box", "sh", "-c", PATIENT)
    assert [code for code, _ in both(box, *[("start", "twice")] * 4)] == [0] * 4
    wait_until(lambda: box("logs", "twice") == "up\n")
    assert box.state("twice")["Running"]


def test_start_and_remove(box):
    for _ in range(4):
        box("create", "--name", "torn", "box", "sh", "-c", PATIENT)
        start, remove = both(box, ("start", "torn"), ("rm", "torn"))
        if remove[0] == 0:
            assert (start[0] == 1 and "No such container" in start[1]) or start[0] == 0
            box("container", "inspect", "torn", code=1)
        else:
            assert "container is running: stop the container before removing or force remove" in remove[1]
            assert start[0] == 0 and box.state("torn")["Running"]
            box("rm", "-f", "torn")
        assert box.nothing_left()


def test_stop_and_start_and_kill_and_wait(box):
    box("run", "-d", "--name", "busy", "box", "sh", "-c", PATIENT)
    for _ in range(3):
        codes = [code for code, _ in both(box, ("stop", "busy"), ("start", "busy"), ("wait", "busy"), ("stop", "busy"))]
        assert codes == [0] * 4
        box("start", "busy")
        kill, wait = both(box, ("kill", "busy"), ("wait", "busy"))
        assert kill[0] == 0 and wait == (0, "137\n")
        box("start", "busy")


def test_exec_and_remove_and_pause(box):
    for _ in range(3):
        box("run", "-d", "--name", "prey", "box", "sh", "-c", PATIENT)
        execute, remove, pause = both(box, ("exec", "prey", "sleep", "50"), ("rm", "-f", "prey"), ("pause", "prey"))
        assert remove[0] == 0
        assert execute[0] in (1, 126, 137) and pause[0] in (0, 1)
        assert "Traceback" not in execute[1] + pause[1] and "internal error" not in execute[1] + pause[1]
        assert box("ps", "-aq") == "" and box.nothing_left()


def test_rename_and_inspect(box):
    box("create", "--name", "old", "box", "true")
    id = box.inspect("old")["Id"]
    results = both(box, ("rename", "old", "new"), ("container", "inspect", id), ("rename", "old", "newer"))
    assert results[1][0] == 0
    # Who has looked it up by its old name may rename it after the other has.
    assert 0 in (results[0][0], results[2][0])
    renamed = [name for name, result in (("/new", results[0]), ("/newer", results[2])) if result[0] == 0]
    assert box.inspect(id)["Name"] in renamed


def test_remove_and_remove(box):
    box("run", "-d", "--name", "popular", "-v", "/data", "box", "sleep", "1000")
    results = both(box, *[("rm", "-fv", "popular")] * 3)
    assert [code for code, _ in results] == [0] * 3
    assert box("volume", "ls", "-q") == ""


def test_many_starts_at_once(box):
    names = [f"many{number}" for number in range(24)]
    for name in names:
        box("create", "--name", name, "--network", "none", "box", "sleep", "1000")
    assert [result[0] for result in both(box, *(("start", name) for name in names))] == [0] * len(names)
    assert len(box("ps", "-q").split()) == len(names)
    assert [result[0] for result in both(box, *(("rm", "-f", name) for name in names))] == [0] * len(names)


@pytest.mark.parametrize("stop_at", ["conmon", "crun"])
def test_a_start_that_is_killed_on_the_way(box, stop_at):
    """At several moments; whatever was made then, the next command says the truth and the rest goes."""
    import threading

    for milliseconds in (40, 60, 80, 100, 130, 170, 220):
        box("create", "--name", "cut", "box", "sleep", "1000")
        process = box.start("start", "cut", stderr=subprocess.DEVNULL)
        threading.Event().wait(milliseconds / 1000)
        if stop_at == "crun":
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()
        status = box.state("cut")["Status"]
        assert status in ("created", "running", "exited")
        if status == "running":
            assert box("exec", "cut", "echo", "there") == "there\n"
        else:
            box("run", "--rm", "box", "true")  # what sweeps
        box("rm", "-f", "cut")
        wait_until(box.nothing_left)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []
