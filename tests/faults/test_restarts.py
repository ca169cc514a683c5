"""Containers that are started again by their policies, and commands that come while they wait for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from container_process import Cais, wait_until

from cais.host.locks import FileLock

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cais(box) -> Cais:
    return box


def run(cais: Cais, *words: str) -> str:
    return cais("run", "-d", "--network", "none", *words).strip()


def status(cais: Cais, name: str) -> str:
    return cais.state(name)["Status"]


def waiters(cais: Cais, id: str) -> list[int]:
    """The processes whose command line names the container."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue
        if name.isdigit() and id.encode() in line and str(cais.root).encode() in line:
            found.append(int(name))
    return found


def nothing_left(cais: Cais, id: str) -> bool:
    return not (cais.root / "run" / id).exists() and not waiters(cais, id)


def test_on_failure_gives_up_after_its_retries(cais):
    id = run(cais, "--name", "failing", "--restart", "on-failure:2", "box", "sh", "-c", "echo run; exit 3")
    wait_until(lambda: cais.inspect("failing")["RestartCount"] == 2 and status(cais, "failing") == "exited")
    facts = cais.inspect("failing")
    assert facts["State"]["ExitCode"] == 3 and not facts["State"]["Restarting"]
    assert facts["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert cais("logs", "failing").split() == ["run"] * 3
    wait_until(lambda: nothing_left(cais, id))
    cais("start", "failing")
    wait_until(lambda: cais.inspect("failing")["RestartCount"] == 2 and status(cais, "failing") == "exited")
    assert cais("logs", "failing").split() == ["run"] * 6


def test_success_is_not_repeated_by_on_failure(cais):
    id = run(cais, "--name", "succeeding", "--restart", "on-failure", "box", "true")
    wait_until(lambda: status(cais, "succeeding") == "exited" and nothing_left(cais, id))
    assert cais.inspect("succeeding")["RestartCount"] == 0


def test_killed_from_outside_it_comes_again_stopped_by_hand_it_does_not(cais):
    id = run(cais, "--name", "steady", "--restart", "always", "box", "sleep", "1000")
    pid = cais.inspect("steady")["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: cais.inspect("steady")["State"]["Pid"] not in (0, pid))
    assert cais.inspect("steady")["RestartCount"] == 1
    cais("stop", "-t", "0", "steady")
    wait_until(lambda: nothing_left(cais, id))
    assert status(cais, "steady") == "exited"
    cais("start", "steady")
    assert cais.inspect("steady")["RestartCount"] == 0
    cais("kill", "steady")
    wait_until(lambda: nothing_left(cais, id))
    assert status(cais, "steady") == "exited"


def waiting_long(cais: Cais, name: str) -> str:
    id = run(cais, "--name", name, "--restart", "always", "box", "sh", "-c", "exit 7")
    wait_until(lambda: cais.inspect(name)["RestartCount"] >= 4 and status(cais, name) == "restarting")
    return id


def test_while_it_waits_it_says_so_and_can_be_stopped(cais):
    id = waiting_long(cais, "waiting")
    # In between it runs for a moment, on a busy machine just when it is asked.
    wait_until(lambda: "Restarting (7) " in cais("ps", "--filter", "name=waiting"))
    wait_until(lambda: cais.inspect("waiting")["State"]["Restarting"])
    wait_until(lambda: "container is restarting: stop the container" in cais("rm", "waiting", code=1))
    cais("start", "waiting")
    cais("stop", "waiting")
    assert status(cais, "waiting") == "exited" and cais.inspect("waiting")["State"]["ExitCode"] == 7
    wait_until(lambda: nothing_left(cais, id))


def test_while_it_waits_it_can_be_removed_and_killed(cais):
    id = waiting_long(cais, "removed")
    cais("rm", "-f", "removed")
    wait_until(lambda: nothing_left(cais, id))
    assert not (cais.root / "containers" / id).exists()
    id = waiting_long(cais, "killed")
    cais("kill", "killed")
    wait_until(lambda: nothing_left(cais, id))
    assert status(cais, "killed") == "exited"


def blocked(path: Path) -> int:
    """How many wait for a lock on a file."""
    place = f":{path.stat().st_ino} "
    return sum("->" in line and place in line for line in Path("/proc/locks").read_text().splitlines())


@pytest.mark.parametrize("how", [("stop", "-t", "0"), ("kill",)], ids=" ".join)
def test_it_is_stopped_while_it_is_just_being_started_again(cais, how):
    for _ in range(3):  # who of the two is first, the kernel decides
        id = run(cais, "--name", "again", "--restart", "always", "box", "sh", "-c", "exit 7")
        path = cais.root / "containers" / id / "lock"
        wait_until(lambda: status(cais, "again") == "restarting")
        with FileLock(str(path)):
            wait_until(lambda path=path: blocked(path) == 1)
            stopping = cais.start(*how, "again")
            wait_until(lambda path=path: blocked(path) == 2)
        assert stopping.wait(60) == 0
        wait_until(lambda id=id: nothing_left(cais, id))
        assert status(cais, "again") == "exited"
        cais("rm", "again")


def test_a_wait_whose_process_was_killed_is_no_wait(cais):
    id = waiting_long(cais, "lost")
    pid = int((cais.root / "containers" / id / "restart.waiter").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: status(cais, "lost") == "exited")
    cais("rm", "lost")


def test_the_policy_of_a_running_one_is_changed(cais):
    run(cais, "--name", "changed", "--restart", "always", "box", "sleep", "1000")
    cais("update", "--restart", "no", "changed")
    assert cais.inspect("changed")["HostConfig"]["RestartPolicy"]["Name"] == "no"
    os.kill(cais.inspect("changed")["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: status(cais, "changed") == "exited")
    assert cais.inspect("changed")["RestartCount"] == 0
    cais("rm", "changed")
