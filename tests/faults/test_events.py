"""Events as another process sees them: while they happen, by filter, and nothing twice."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest
from container_process import wait_until


class Watcher:
    """``cais events`` in a process; its lines as they come."""

    def __init__(self, box, *words: str) -> None:
        self.process = box.start("events", "--format", "json", *words)
        self.lines: list[dict] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._more:
                self.lines.append(json.loads(line))
                self._more.notify_all()

    def until(self, action: str, seconds: float = 20) -> list[str]:
        with self._more:
            assert self._more.wait_for(lambda: action in self.actions, seconds), self.actions
            return self.actions

    @property
    def actions(self) -> list[str]:
        return [line["Action"] for line in self.lines]

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._thread.join(20)
        return code


def test_seen_while_they_happen(box):
    since = f"{time.time():.9f}"
    watcher = Watcher(box, "--since", since, "--filter", "container=seen")
    box("run", "-d", "--network", "none", "--name", "seen", "--label", "tier=front", "box", "sleep", "100")
    watcher.until("start")
    box("exec", "seen", "sh", "-c", "exit 4", code=4)
    box("kill", "-s", "USR1", "seen")
    watcher.until("kill")
    box("rename", "seen", "seen2")
    box("stop", "-t", "0", "seen2")
    box("rm", "seen2")
    watcher.until("destroy")
    assert watcher.end() == 130
    happened = [action for action in watcher.actions if action in _OF_LIFE]
    assert happened == ["create", "start", "kill", "rename", "kill", "kill", "die", "stop", "destroy"]
    by_action = {line["Action"]: line for line in watcher.lines}
    assert "exec_create: sh -c exit 4" in by_action
    assert by_action["exec_die"]["Actor"]["Attributes"]["exitCode"] == "4"
    attributes = by_action["die"]["Actor"]["Attributes"]
    assert attributes["exitCode"] == "137"
    assert attributes["tier"] == "front"
    assert attributes["image"] == "box"
    assert by_action["rename"]["Actor"]["Attributes"]["oldName"] == "/seen"
    assert [line["timeNano"] for line in watcher.lines] == sorted(line["timeNano"] for line in watcher.lines)


_OF_LIFE = ("create", "attach", "start", "kill", "rename", "die", "stop", "destroy")


def _between(box, since: str, *words: str) -> list[str]:
    return box("events", "--since", since, "--until", "0s", "--format", "{{.Type}} {{.Action}}", *words).splitlines()


def test_in_the_foreground(box):
    since = f"{time.time():.9f}"
    box("run", "--rm", "--network", "none", "--name", "front", "box", "sh", "-c", "exit 3", code=3)
    box("run", "--rm", "--network", "none", "box", "no-such-program", code=127)
    found = _between(box, since, "--filter", "type=container")
    life = [line.partition(" ")[2] for line in found if line.partition(" ")[2] in _OF_LIFE]
    assert life == ["create", "attach", "start", "die", "destroy", "create", "destroy"]
    assert _between(box, since, "--filter", "event=die", "--filter", "container=front") == ["container die"]


def test_killed_with_its_command_it_dies_once(box):
    since = f"{time.time():.9f}"
    process = box.start("run", "--name", "cut", "--network", "none", "box", "sleep", "100")
    wait_until(lambda: box("ps", "-q", "--filter", "name=cut"))
    process.kill()
    process.wait()
    for _ in range(3):
        box("ps", "-a")
    box("rm", "-f", "cut")
    found = _between(box, since, "--filter", "container=cut")
    assert found.count("container die") == 1
    assert found[-1] == "container destroy"


def test_images_and_volumes(box):
    since = f"{time.time():.9f}"
    box("tag", "box", "other:1")
    box("rmi", "other:1")
    box("run", "--rm", "--network", "none", "-v", "named:/data", "box", "true")
    found = _between(box, since)
    for line in ("image tag", "image untag", "volume create", "volume mount", "volume unmount"):
        assert found.count(line) == 1, line
    assert _between(box, since, "--filter", "type=image", "--filter", "event=tag") == ["image tag"]
    assert _between(box, since, "--filter", "image=other") == ["image tag"]


def test_networks_and_volumes_are_told_of_before_the_start_and_after_the_end(box):
    since = f"{time.time():.9f}"
    box("network", "create", "told")
    box("run", "--rm", "--network", "told", "-v", "kept:/data", "box", "true")
    box("network", "rm", "told")
    found = _between(box, since)
    if "network connect" not in found:
        pytest.skip("no bridges here")
    assert [line for line in found if line != "container attach"] == [
        "network create", "volume create", "container create", "network connect", "volume mount", "container start",
        "container die", "network disconnect", "volume unmount", "container destroy", "network destroy",
    ]  # fmt: skip
    words = ("--format", "{{.Actor.Attributes.name}} {{.Actor.Attributes.type}}")
    told = box("events", "--since", since, "--until", "0s", "--filter", "event=disconnect", *words)
    assert told == "told bridge\n"


def test_archives_of_images_and_files(box, tmp_path):
    since = f"{time.time():.9f}"
    (id,) = box("images", "-q", "--no-trunc", "box").split()
    box("save", "-o", str(tmp_path / "box.tar"), "box")
    box("load", "-q", "-i", str(tmp_path / "box.tar"))
    box("create", "--name", "files", "box")
    box("cp", "files:/bin", str(tmp_path / "bin"))
    box("cp", str(tmp_path / "box.tar"), "files:/")
    box("rm", "files")
    words = ("--format", "{{.Action}} {{.ID}} {{.Actor.Attributes.name}}")
    told = box("events", "--since", since, "--until", "0s", "--filter", "type=image", *words)
    assert told.splitlines() == [f"save {id} {id}", f"load {id} {id}"]
    found = _between(box, since, "--filter", "container=files")
    assert found == [f"container {word}" for word in ("create", "archive-path", "extract-to-dir", "destroy")]


def test_labels_of_images_are_told(box):
    since = f"{time.time():.9f}"
    box("create", "--name", "labelled", "box")
    box("commit", "-c", "LABEL tier=back", "labelled", "told:1")
    box("rm", "labelled")
    box("tag", "told:1", "told:2")
    box("rmi", "told:1", "told:2")
    found = _between(box, since, "--filter", "type=image", "--filter", "label=tier=back")
    assert found == ["image tag", "image tag", "image untag", "image untag", "image delete"]


def test_without_since_an_end_means_all_that_was(box):
    box("tag", "box", "ended:1")
    box("rmi", "ended:1")
    assert " image tag " in box("events", "--until", "0s", "--filter", "image=ended:1")
    said = box("events", "--since", "10", "--until", "5", code=1)
    assert said == "Error: `since` time (10) cannot be after `until` time (5)\n"


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("{{.Nope}}", ':1:2: executing "" at <.Nope>: can\'t evaluate field Nope in type *events.Message'),
        ("{{nope .}}", ':1: function "nope" not defined'),
        ("{{.Nope", ":1: unclosed action"),
    ],
)
def test_a_bad_format_is_said_before_anything_happens(box, format, said):
    assert box("events", "--format", format, code=64) == f"Error parsing format: template: {said}\n"


def test_since_the_beginning(box):
    box("tag", "box", "since:0")
    assert "image tag" in _between(box, "0", "--filter", "image=since:0")
    box("rmi", "since:0")


def test_a_build_names_its_image(box, tmp_path):
    since = f"{time.time():.9f}"
    (tmp_path / "Dockerfile").write_text("FROM box\nLABEL a=b\n")
    box("build", "-q", "-t", "built:1", str(tmp_path))
    assert _between(box, since, "--filter", "image=built:1") == ["image tag"]


def test_text_and_hostile_values(box):
    since = f"{time.time():.9f}"
    box("create", "--name", "odd", "--label", "x=a\n2020-01-01T00:00:00.0Z container die 1\x1b[2J", "box")
    (line,) = box("events", "--since", since, "--until", "0s", "--filter", "container=odd").splitlines()
    assert " container create " in line
    assert line.endswith(", name=odd, x=a\\n2020-01-01T00:00:00.0Z container die 1\\x1b[2J)")
    box("rm", "odd")


def test_what_is_asked_wrongly(box):
    assert "invalid filter 'colour'" in box("events", "--filter", "colour=red", "--until", "0s", code=1)
    assert "failed to parse value as time or duration" in box("events", "--since", "whenever", code=1)
    assert "Error parsing format" in box("events", "--format", "{{.", "--until", "0s", code=64)
