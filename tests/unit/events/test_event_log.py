"""The log of events: written by many, changed for a new one meanwhile, read whole and in order."""

from __future__ import annotations

import os
import threading

import pytest

from cais.events import log as event_log
from cais.events.log import EventLog


@pytest.fixture
def events(tmp_path):
    return EventLog(str(tmp_path))


def names(events, **options):
    return [event.action for event in events.read(**options)]


def test_what_is_written_comes_back(events):
    events.write("container", "create", "abc", {"image": "busybox", "odd": 'a"\n\x1b\udcff'})
    events.write("volume", "destroy", "data")
    first, second = events.read()
    assert first[1:] == ("container", "create", "abc", {"image": "busybox", "odd": 'a"\n\x1b\udcff'})
    assert second[1:] == ("volume", "destroy", "data", {})
    assert 0 < first.time <= second.time
    assert [event.action for event in events.read(second.time)] == ["destroy"]
    assert [event.action for event in events.read(0, first.time)] == ["create"]


def test_no_log_is_no_events(events):
    assert list(events.read()) == []


def test_a_broken_line_hides_no_other(events):
    events.write("container", "start", "a")
    with open(events.path, "ab") as file:
        file.write(b'\n[1795441159000000000,"container","di')  # killed in the middle
    events.write("container", "stop", "a")
    with open(events.path, "ab") as file:
        file.write(b'\n{"no": "event"}\n[1795441159000000000]\n\xff\xfe\n[' + b"[" * 5000 + b"\n")
    events.write("container", "destroy", "a")
    assert names(events) == ["start", "stop", "destroy"]


def test_what_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "events").write_text("not a directory")
    EventLog(str(tmp_path)).write("container", "create", "abc")


def test_labels_without_end_are_left_out(events):
    events.write("container", "create", "abc", {"name": "web", "big": "x" * 1_000_000})
    assert [dict(event.attributes) for event in events.read()] == [{"name": "web"}]
    assert os.path.getsize(events.path) < 200


def test_bounded_and_in_order_across_logs(events, monkeypatch):
    monkeypatch.setattr(event_log, "LIMIT_BYTES", 2000)
    for number in range(200):
        events.write("container", f"e{number:03}", "abc")
        assert (
            sum(os.path.getsize(os.path.join(events.directory, name)) for name in os.listdir(events.directory)) < 4500
        )
    assert set(os.listdir(events.directory)) <= {"log", "log.1"}
    found = names(events)
    assert found == [f"e{number:03}" for number in range(200)][-len(found) :]
    assert len(found) > 20


def test_many_writers_and_a_reader_that_follows(events, monkeypatch):
    """Every event once, whatever is changed for a new log meanwhile; each writer's in its order."""
    monkeypatch.setattr(event_log, "LIMIT_BYTES", 20_000)
    found: list[tuple[str, str]] = []
    read_so_far = threading.Semaphore(0)
    more, done = threading.Event(), threading.Event()

    def wait() -> bool:
        read_so_far.release()
        if done.is_set():
            return False
        more.wait(0.05)
        more.clear()
        return True

    def follow() -> None:
        found.extend((event.id, event.action) for event in events.read(wait=wait))

    reader = threading.Thread(target=follow)
    reader.start()
    for turn in range(30):  # the reader may lag, but not by two whole logs
        children = []
        for writer in range(3):
            child = os.fork()
            if child == 0:
                for number in range(20):
                    events.write("container", f"{turn:02}-{number:02}", f"w{writer}")
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        more.set()
        read_so_far.acquire(timeout=20)
        read_so_far.acquire(timeout=20)
    done.set()
    more.set()
    reader.join(20)
    assert not reader.is_alive()
    for writer in range(3):
        mine = [action for id, action in found if id == f"w{writer}"]
        assert mine == [f"{turn:02}-{number:02}" for turn in range(30) for number in range(20)]


def test_a_stopped_writer_keeps_nobody_from_writing(events, monkeypatch):
    import fcntl

    monkeypatch.setattr(event_log, "LIMIT_BYTES", 200)
    events.write("container", "first", "a")
    with open(events.path, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        for number in range(10):
            events.write("container", f"e{number}", "a")
    assert len(names(events)) == 11
