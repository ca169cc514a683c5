"""Health checks of real containers: their results, their end, and checks that do their worst."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from container_process import Cais, wait_until

from cais.events.log import EventLog
from cais.host.processes import ProcessName, is_ending, start_ticks

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cais(box, busybox_tar) -> Cais:
    box("import", "--change", "HEALTHCHECK --interval=100ms CMD test -e /image", str(busybox_tar), "checked")
    return box


def run(cais: Cais, name: str, *flags: str) -> None:
    cais(
        "run",
        "-d",
        "--name",
        name,
        "--network",
        "none",
        "--health-interval",
        "100ms",
        *flags,
        "checked",
        "sleep",
        "1000",
    )


def health(cais: Cais, name: str) -> dict:
    return cais.state(name)["Health"]


def said(cais: Cais, name: str) -> list[str]:
    """What the events said of its health."""
    actions = [event.action for event in EventLog(str(cais.root)).read() if event.attributes["name"] == name]
    return [action.removeprefix("health_status: ") for action in actions if action.startswith("health_status: ")]


def watchers(cais: Cais) -> list[int]:
    """All processes that have to do with checks below this root directory."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue
        if name.isdigit() and b"cais.engine.health" in line and str(cais.root).encode() in line:
            found.append(int(name))
    return found


def test_a_status_follows_the_checks_and_is_seen_everywhere(cais):
    run(cais, "changing", "--health-cmd", "echo said; test -e /ok", "--health-retries", "2")
    wait_until(lambda: health(cais, "changing")["Status"] == "unhealthy")
    assert "(unhealthy)" in cais("ps", "--filter", "health=unhealthy", "--filter", "name=changing")
    assert "changing" not in cais("ps", "--filter", "health=healthy")
    cais("exec", "changing", "touch", "/ok")
    wait_until(lambda: health(cais, "changing")["Status"] == "healthy")
    assert "(healthy)" in cais("ps", "--filter", "name=changing")
    found = health(cais, "changing")
    assert found["FailingStreak"] == 0 and len(found["Log"]) <= 5
    assert found["Log"][-1]["Output"] == "said\n" and found["Log"][-1]["ExitCode"] == 0
    assert cais.inspect("changing")["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "echo said; test -e /ok"]
    cais("stop", "-t", "0", "changing")
    wait_until(lambda: not watchers(cais))
    assert health(cais, "changing")["Status"] == "unhealthy"
    cais("start", "changing")
    assert health(cais, "changing")["Log"]
    wait_until(lambda: health(cais, "changing")["Status"] == "healthy")
    assert said(cais, "changing") == ["unhealthy", "healthy", "healthy"], health(cais, "changing")
    cais("rm", "-f", "changing")
    wait_until(lambda: not watchers(cais))


def test_what_a_check_finds_in_one_that_is_dying_is_not_told(cais):
    """A pid namespace's first process stays until the last one has gone, and nobody can be started beside it."""
    run(cais, "dying", "--health-cmd", "true", "--health-retries", "1")
    wait_until(lambda: said(cais, "dying") == ["healthy"])
    command = cais.start("exec", "dying", "sh", "-c", "echo up; exec sleep 1000")
    assert command.stdout.readline() == b"up\n"
    (runtime,) = (int(pid) for pid in Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split())
    pid = cais.pid("dying")
    os.kill(runtime, signal.SIGSTOP)  # it does not see what it has started end
    try:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_ending(ProcessName(pid, start_ticks(pid) or 0)))
        assert start_ticks(pid) is not None
        run(cais, "clock2", "--health-cmd", "true")
        wait_until(lambda: len(health(cais, "clock2")["Log"]) == 5)  # as many, and more, were tried here
    finally:
        os.kill(runtime, signal.SIGCONT)
    assert command.wait(20) == 137
    wait_until(lambda: cais.state("dying")["Status"] == "exited")
    assert said(cais, "dying") == ["healthy"]
    cais("rm", "-f", "dying", "clock2")


def test_the_image_says_how_and_no_healthcheck_takes_it_away(cais):
    cais("run", "-d", "--name", "imaged", "--network", "none", "checked", "sh", "-c", "touch /image; sleep 1000")
    assert "(health: starting)" in cais("ps", "--filter", "name=imaged") or health(cais, "imaged")["Log"]
    wait_until(lambda: health(cais, "imaged")["Status"] == "healthy")
    cais("run", "-d", "--name", "without", "--network", "none", "--no-healthcheck", "checked", "sleep", "1000")
    assert "Health" not in cais.state("without")
    assert "without" in cais("ps", "--filter", "health=none")
    assert len(watchers(cais)) <= 2
    cais("rm", "-f", "imaged", "without")


def test_a_check_that_hangs_is_killed_with_what_it_started(cais):
    run(cais, "hanging", "--health-cmd", "echo begun; sleep 2001 & sleep 2002", "--health-timeout", "200ms",
        "--health-retries", "1")  # fmt: skip
    wait_until(lambda: health(cais, "hanging")["Status"] == "unhealthy")
    entry = health(cais, "hanging")["Log"][0]
    assert entry["ExitCode"] == -1 and entry["Output"] == "Health check exceeded timeout (200ms): begun\n"
    cais("rm", "-f", "hanging")
    wait_until(lambda: not watchers(cais))


def test_of_a_flood_the_beginning_is_kept(cais):
    run(cais, "flooding", "--health-cmd", "head -c 50000000 /dev/zero | tr '\\0' x")
    wait_until(lambda: health(cais, "flooding")["Log"])
    entry = health(cais, "flooding")["Log"][0]
    assert entry["Output"] == "x" * 4096 + "..." and entry["ExitCode"] == 0
    cais("rm", "-f", "flooding")


def test_what_is_left_running_does_not_hold_the_check(cais):
    run(cais, "leaving", "--health-cmd", "sleep 2003 & echo done")
    wait_until(lambda: health(cais, "leaving")["Log"])
    assert health(cais, "leaving")["Log"][0]["Output"] == "done\n"
    cais("rm", "-f", "leaving")


def test_a_check_that_cannot_run_is_a_failure(cais):
    run(cais, "missing", "--health-cmd", "/no/such/program", "--health-retries", "1")
    wait_until(lambda: health(cais, "missing")["Status"] == "unhealthy")
    assert health(cais, "missing")["Log"][0]["ExitCode"] == 127
    cais("rm", "-f", "missing")


def test_while_it_starts_failures_do_not_count(cais):
    run(cais, "starting", "--health-cmd", "false", "--health-retries", "1", "--health-start-period", "1h",
        "--health-start-interval", "100ms")  # fmt: skip
    wait_until(lambda: len(health(cais, "starting")["Log"]) >= 2)
    assert health(cais, "starting")["Status"] == "starting" and health(cais, "starting")["FailingStreak"] == 0
    cais("rm", "-f", "starting")


def test_it_ends_when_everything_around_it_was_killed(cais):
    run(cais, "orphaned", "--health-cmd", "true")
    facts = cais.inspect("orphaned")
    conmon = int((cais.root / "run" / facts["Id"] / "conmon.pid").read_text())
    os.kill(conmon, signal.SIGKILL)
    os.kill(facts["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: not watchers(cais))
    cais("rm", "-f", "orphaned")


def test_a_watch_that_was_killed_is_taken_up_by_the_next_command(cais):
    run(cais, "unwatched", "--health-cmd", "true")
    wait_until(lambda: health(cais, "unwatched")["Log"])
    (waiter,) = (cais.root / "containers").glob("*/health.waiter")
    os.kill(int(waiter.read_text().split()[0]), signal.SIGKILL)
    wait_until(lambda: len(watchers(cais)) == 0)
    last = health(cais, "unwatched")["Log"][-1]["End"]
    cais("create", "--name", "any", "--network", "none", "box")
    wait_until(lambda: health(cais, "unwatched")["Log"][-1]["End"] != last)
    cais("rm", "-f", "unwatched", "any")
    wait_until(lambda: not watchers(cais))


def test_paused_it_is_not_checked_and_a_check_under_way_says_nothing(cais):
    run(
        cais, "paused", "--health-cmd", "touch /begun; sleep 1000", "--health-timeout", "500ms", "--health-retries", "1"
    )
    wait_until(lambda: cais.inspect("paused")["ExecIDs"])
    try:
        cais("pause", "paused")
    except AssertionError as error:
        pytest.skip(f"this host cannot pause: {error}")
    before = health(cais, "paused")["Log"]
    run(cais, "clock", "--health-cmd", "true")
    wait_until(lambda: len(health(cais, "clock")["Log"]) == 5)  # longer than the check may take
    assert health(cais, "paused")["Log"] == before
    cais("unpause", "paused")
    wait_until(lambda: len(health(cais, "paused")["Log"]) > len(before))
    cais("rm", "-f", "paused", "clock")
