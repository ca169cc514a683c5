"""Logs of builds: kept, listed, read, the oldest dropped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cais
from cais.engine.build_log import KEPT_BUILDS, STEP_OUTPUT_LIMIT_BYTES, BuildLog, builds, events
from cais.errors import Cancelled, Failed, NotFound, Unavailable


def log_of(work, build: str = "") -> list[dict]:
    return list(events(work.stores, build))


def test_what_was_shown_is_kept(work):
    shown = []
    with BuildLog(work.stores, "app", shown.append) as log:
        log.progress({"event": "start", "id": 1, "name": "RUN"})
        log.progress({"event": "output", "id": 1, "stream": 1, "data": b"\xff\0bytes\n"})
        log.progress({"event": "done", "id": 1, "seconds": 0.5})
        log.image = "sha256:x"
    found = log_of(work)
    assert [{key: value for key, value in event.items() if key != "at"} for event in found] == shown
    times = [event["at"] for event in found]
    assert times == sorted(times) and all(0 <= time < 60 for time in times)
    (row,) = builds(work.stores)
    assert (row.id, row.name, row.status, row.image) == (log.id, "app", "done", "sha256:x")
    assert 0 < row.started <= row.finished


@pytest.mark.parametrize(
    ("error", "status"),
    [(Failed("no"), "failed"), (KeyboardInterrupt(), "cancelled"), (Cancelled("stopped"), "cancelled")],
)
def test_how_it_ended(work, error, status):
    with pytest.raises(type(error)), BuildLog(work.stores, "app", lambda event: None):
        raise error
    assert [row.status for row in builds(work.stores)] == [status]
    assert log_of(work)[-1]["event"] == "failed"


def test_it_can_be_read_while_it_is_written(work):
    with BuildLog(work.stores, "app", lambda event: None) as log:
        log.progress({"event": "start", "id": 1, "name": "RUN"})
        assert [event["event"] for event in log_of(work)] == ["start"]
        assert [(row.status, row.finished) for row in builds(work.stores)] == [("running", 0.0)]


def test_a_killed_build_s_log_is_readable_and_it_is_called_killed(work):
    code = (
        "import sys, os\nfrom cais.engine import Settings\nfrom cais.engine.stores import Stores\n"
        "from cais.engine.build_log import BuildLog\n"
        "with BuildLog(Stores(Settings(sys.argv[1])), 'app', lambda event: None) as log:\n"
        "    log.progress({'event': 'start', 'id': 1, 'name': 'RUN'})\n"
        "    print('+', flush=True)\n    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, work.stores.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])},
    )
    assert child.stdout.readline() == b"+\n"
    assert [row.status for row in builds(work.stores)] == ["running"]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (row,) = builds(work.stores)
    assert (row.status, row.finished) == ("killed", 0.0)
    assert [event["name"] for event in log_of(work)] == ["RUN"]


def test_a_line_that_was_cut_is_left_out(work):
    with BuildLog(work.stores, "app", lambda event: None) as log:
        log.progress({"event": "start", "id": 1, "name": "RUN"})
    with open(os.path.join(log.directory, "log"), "a") as file:
        file.write('{"event": "outp')
    assert [event["event"] for event in log_of(work)] == ["start"]


def test_only_the_last_builds_are_kept(work):
    for number in range(KEPT_BUILDS + 5):
        with BuildLog(work.stores, str(number), lambda event: None):
            pass
    rows = builds(work.stores)
    assert [row.name for row in rows] == [str(n) for n in range(KEPT_BUILDS + 4, 4, -1)]
    assert set(os.listdir(Path(work.stores.root, "builds"))) == {row.id for row in rows}


def test_one_that_still_runs_is_kept_however_old(work):
    with BuildLog(work.stores, "long", lambda event: None) as log:
        for number in range(KEPT_BUILDS + 1):
            with BuildLog(work.stores, str(number), lambda event: None):
                pass
        log.progress({"event": "start", "id": 1, "name": "RUN"})
        assert builds(work.stores)[-1].name == "long"
        assert os.path.exists(os.path.join(log.directory, "log"))


def test_the_output_of_a_step_is_kept_up_to_a_limit(work):
    piece = b"x" * (1 << 20)
    shown = []
    with BuildLog(work.stores, "app", lambda event: shown.append(event["event"])) as log:
        for _ in range(10):
            log.progress({"event": "output", "id": 1, "stream": 1, "data": piece})
        log.progress({"event": "output", "id": 2, "stream": 1, "data": b"short"})
        log.progress({"event": "done", "id": 1, "seconds": 1.0})
        log.progress({"event": "done", "id": 2, "seconds": 1.0})
    assert shown == ["output"] * 11 + ["done"] * 2
    found = log_of(work)
    kept = b"".join(event["data"] for event in found if event["event"] == "output" and event["id"] == 1)
    assert kept[:STEP_OUTPUT_LIMIT_BYTES] == b"x" * STEP_OUTPUT_LIMIT_BYTES
    assert kept[STEP_OUTPUT_LIMIT_BYTES:] == b"\n[%d more bytes were not kept]\n" % (10 * len(piece) - (4 << 20))
    assert os.path.getsize(os.path.join(log.directory, "log")) < STEP_OUTPUT_LIMIT_BYTES + 4096


def test_by_the_start_of_its_id(work):
    for name in ("one", "two"):
        with BuildLog(work.stores, name, lambda event: None) as log:
            log.progress({"event": "start", "id": 1, "name": name})
    first = builds(work.stores)[1].id
    assert log_of(work, first[:6])[0]["name"] == "one" and log_of(work)[0]["name"] == "two"
    with pytest.raises(NotFound, match="'zz'"):
        log_of(work, "zz")


def test_there_is_none(work):
    with pytest.raises(NotFound, match="no build is kept"):
        log_of(work)


def test_one_whose_file_is_gone(work):
    with BuildLog(work.stores, "app", lambda event: None) as log:
        pass
    os.unlink(os.path.join(log.directory, "log"))
    with pytest.raises(NotFound, match="is gone"):
        log_of(work)


def test_a_log_that_cannot_be_written_fails_no_build(work):
    shown = []
    with BuildLog(work.stores, "app", shown.append) as log:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, log._file.fileno())
        os.close(full)
        log.progress({"event": "start", "id": 1, "name": "RUN"})
    assert len(shown) == 1 and [row.status for row in builds(work.stores)] == ["done"]


def test_a_failure_is_told_and_not_what_fails_because_of_it(work):
    """The disk is full: neither the log nor its row can be written."""
    with pytest.raises(Unavailable, match="the step's own"), BuildLog(work.stores, "app", lambda event: None):
        work.stores.database.rows("PRAGMA query_only=ON")
        raise Unavailable("the step's own")
    work.stores.database.rows("PRAGMA query_only=OFF")


def test_the_events_are_json_lines(work):
    with BuildLog(work.stores, "app", lambda event: None) as log:
        log.progress({"event": "warning", "message": "ü\n", "line": 3})
    with open(os.path.join(log.directory, "log"), encoding="ascii") as file:
        assert [json.loads(line)["message"] for line in file] == ["ü\n"]
