"""Editing containers that run: what stays, what changes, and what happens where the change cannot work."""

from __future__ import annotations

import pytest
from container_process import Cais, wait_until

from cais.engine.settings import Settings
from cais.engine.stores import Stores

pytestmark = pytest.mark.root


@pytest.fixture
def web(box):
    """A container that runs, and writes into its own file system at each start."""
    box("run", "-d", "--name", "web", "--network", "none", "--stop-timeout", "0", "-e", "A=1", "-v", "kept:/kept",
        "box", "sh", "-c", "echo start >>/starts; echo start >>/kept/starts; echo begun; exec sleep 1000")  # fmt: skip
    wait_until(lambda: "begun" in box("logs", "web"))
    yield box.inspect("web")["Id"]
    box("rm", "-f", "web", code=None)
    box("volume", "rm", "kept", "added", code=None)


def test_a_running_one_is_changed_and_keeps_what_it_has(box: Cais, web: str) -> None:
    box("container", "edit", "-e", "B=2", "--env-rm", "A", "-v", "added:/added", "--label", "x=y", "web")
    facts = box.inspect("web")
    assert facts["Id"] == web and facts["State"]["Running"] and facts["Config"]["Labels"]["x"] == "y"
    wait_until(lambda: box("logs", "web").count("begun") == 2)
    said = box("exec", "web", "sh", "-c", "env; cat /starts; cat /kept/starts; ls -d /added")
    assert "B=2" in said and "A=1" not in said and said.count("start") == 4 and "/added" in said
    assert "is in use" in box("volume", "rm", "added", code=1)
    box("container", "edit", "--mount-rm", "/added", "web")
    box("volume", "rm", "added")


def test_what_does_not_start_leaves_it_running_as_it_was(box: Cais, web: str) -> None:
    before = box.inspect("web")
    said = box("container", "edit", "-e", "B=2", "-v", "added:/added", "--entrypoint", "/missing", "web", code=1)
    assert "did not start with the change" in said and "as it was before" in said
    after = box.inspect("web")
    assert after["State"]["Running"] and after["Config"] == before["Config"]
    assert after["Mounts"] == before["Mounts"]
    box("volume", "rm", "added")


def test_what_is_wrong_is_said_before_anything_is_stopped(box: Cais, web: str) -> None:
    pid = box.pid("web")
    for words in (("--env-rm", "NONE"), ("--mount-rm", "/none"), ("--publish-rm", "80"), ("--restart", "sometimes")):
        box("container", "edit", *words, "web", code=None)
    assert box.pid("web") == pid
    assert "No such container" in box("container", "edit", "nobody", code=1)


def test_a_stopped_one_is_changed_and_stays_stopped(box: Cais, web: str) -> None:
    box("stop", "web")
    box("container", "edit", "--restart", "always", "web", "sh", "-c", "echo other; exec sleep 1000")
    assert box.state("web")["Status"] == "exited"
    assert box.inspect("web")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    box("start", "web")
    wait_until(lambda: "other" in box("logs", "web"))


def test_one_that_would_be_gone_with_its_end_is_not_stopped(box: Cais) -> None:
    box("run", "-d", "--rm", "--name", "passing", "--network", "none", "--stop-timeout", "0", "box", "sleep", "1000")
    pid = box.pid("passing")
    assert "--rm" in box("container", "edit", "-e", "A=1", "passing", code=1)
    assert box.pid("passing") == pid
    box("rm", "-f", "passing")


def edit_killed_when(box: Cais, condition) -> None:
    """``container edit`` of ``web`` by SIGKILL at the moment when ``condition`` of its facts first holds."""
    editor = box.start("container", "edit", "--label", "edited=yes", "web")
    records = Stores(Settings(str(box.root)))
    try:
        while editor.poll() is None:
            if condition(records.database.row("SELECT state, plan FROM containers WHERE name = 'web'")):
                editor.kill()
                break
    finally:
        editor.wait()
        records.close()
        editor.stdout.close()


@pytest.mark.parametrize(
    "condition",
    [
        lambda row: row[0] == "exited",
        lambda row: "edited" in row[1],
        lambda row: "edited" in row[1] and row[0] == "running",
    ],
    ids=["stopped", "changed", "started"],
)
def test_killed_it_is_the_old_one_or_the_new_one_and_can_be_started(box: Cais, web: str, condition) -> None:
    edit_killed_when(box, condition)
    facts = box.inspect("web")
    assert facts["Id"] == web and facts["Config"]["Labels"] in ({}, None, {"edited": "yes"})
    wait_until(lambda: box.state("web")["Status"] in ("exited", "running"))
    box("start", "web")
    assert box.state("web")["Running"]
    assert "start" in box("exec", "web", "cat", "/starts")
