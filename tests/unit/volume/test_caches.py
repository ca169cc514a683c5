"""Cache mounts: found again by their id, locked as they are shared."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from cais.engine.schema import SCHEMAS
from cais.engine.stores import SCHEMA_VERSION
from cais.errors import Cancelled, Conflict
from cais.host.database import Database
from cais.volume.caches import Cache, acquire, cache_name, is_cache_name
from cais.volume.records import CACHE
from cais.volume.store import VolumeStore


@pytest.fixture
def store(tmp_path):
    database = Database(str(tmp_path / "cais.db"), SCHEMA_VERSION, lambda: SCHEMAS)
    yield VolumeStore(str(tmp_path), database)
    database.close()


def never(name: str) -> None:
    raise Cancelled(name)


def test_one_id_is_one_volume_and_its_owner_is_part_of_it(store):
    one = acquire(store, Cache("/root/.cache"), "shared", never)
    open(os.path.join(one.path, "file"), "w").close()
    one.release()
    again = acquire(store, Cache("/root/.cache"), "locked", never)
    other = acquire(store, Cache("/root/.cache", mode=0o700), "shared", never)
    assert again.path == one.path and os.listdir(again.path) == ["file"]
    assert other.path != one.path and stat.S_IMODE(os.stat(other.path).st_mode) == 0o700
    volume = store.get(one.name)
    assert (volume.kind, volume.cache_id) == (CACHE, "/root/.cache") and volume.last_used > 0
    again.release()
    other.release()


def test_names_say_what_they_are_and_are_the_same_everywhere():
    name = cache_name(Cache("/root/.cache/pip"))
    assert name == "cache-root-.cache-pip-0aef1a6b1c5e"[:22] + name[22:] and is_cache_name(name)
    assert cache_name(Cache("/root/.cache/pip", "", (0, 0), 0o755)) == name
    assert len({name, cache_name(Cache("/root/.cache/pip"), 1), cache_name(Cache("x" * 900))}) == 3
    assert is_cache_name(cache_name(Cache("x" * 900 + "\n/../"))) and len(cache_name(Cache("x" * 900))) < 100
    assert not is_cache_name("cache-of-mine") and not is_cache_name("data")


def test_locks(store):
    cache = Cache("c")
    first = acquire(store, cache, "shared", never)
    second = acquire(store, cache, "shared", never)
    assert first.path == second.path
    with pytest.raises(Cancelled):
        acquire(store, cache, "locked", never)
    private = acquire(store, cache, "private", never)
    another = acquire(store, cache, "private", never)
    assert len({first.path, private.path, another.path}) == 3
    for held in (first, second, private, another):
        held.release()
    alone = acquire(store, cache, "locked", never)
    assert alone.path == first.path
    with pytest.raises(Cancelled):
        acquire(store, cache, "shared", never)
    alone.release()
    third = acquire(store, cache, "private", never)
    assert third.path == first.path
    third.release()


def test_what_waits_gets_it_when_it_is_free(store):
    held = acquire(store, Cache("c"), "locked", never)
    asked = []

    def wait(name: str) -> None:
        asked.append(name)
        held.release()

    acquire(store, Cache("c"), "locked", wait).release()
    assert asked == [held.name]


def test_one_in_use_is_not_removed_or_replaced(store):
    held = acquire(store, Cache("c"), "shared", never)
    for action in (lambda: store.remove(held.name), lambda: store.replace(held.name, lambda path: None)):
        with pytest.raises(Conflict, match="in use by a build"):
            action()
    held.release()
    store.remove(held.name)
    assert store.all() == [] and not os.path.exists(held.path)


def test_a_lock_dies_with_its_process(store, in_child):
    cache = Cache("c")
    acquire(store, cache, "shared", never).release()
    path = store.lock_path(store.get(cache_name(cache)))

    def hold() -> str:
        from cais.host.locks import FileLock

        assert FileLock(path).acquire()
        return "held"

    assert in_child(hold) == "held"
    acquire(store, cache, "locked", never).release()


def test_a_directory_that_is_gone_is_made_again(store):
    held = acquire(store, Cache("c", mode=0o711), "shared", never)
    held.release()
    os.rename(os.path.dirname(held.path), os.path.dirname(held.path) + ".moved")
    again = acquire(store, Cache("c", mode=0o711), "shared", never)
    assert os.listdir(again.path) == [] and stat.S_IMODE(os.stat(again.path).st_mode) == 0o711
    again.release()


def test_what_it_begins_with_is_seen_whole_or_not_at_all(store):
    def broken(path: str) -> None:
        open(os.path.join(path, "half"), "w").close()
        raise Cancelled("broken")

    with pytest.raises(Cancelled):
        acquire(store, Cache("c", "origin"), "shared", never, broken)
    assert store.all() == [] and os.listdir(store.directory) == []
    held = acquire(store, Cache("c", "origin"), "shared", never, lambda path: os.mkdir(os.path.join(path, "d")))
    assert os.listdir(held.path) == ["d"]
    held.release()


def test_what_is_being_made_is_no_orphan(store):
    found: list[list[str]] = []
    store.replace("data", lambda path: found.append(store.orphans()))
    left = os.path.join(store.directory, "left")
    os.makedirs(left)
    os.utime(left, (1, 1))
    assert found == [[]] and store.orphans() == [left]


def test_what_gets_its_record_while_orphans_are_looked_for_is_none(store, monkeypatch):
    began, may_end = threading.Event(), threading.Event()

    def begin(path: str) -> None:
        began.set()
        may_end.wait()

    maker = threading.Thread(target=store.cache, args=("c", "c", begin))
    maker.start()
    began.wait()
    read = store.database.rows

    def rows(*words):
        """What the records say; then the maker gets on."""
        found = read(*words)
        if threading.current_thread() is not maker:
            may_end.set()
            maker.join()
        return found

    monkeypatch.setattr(store.database, "rows", rows)
    assert store.orphans() == []
    monkeypatch.undo()
    assert [volume.name for volume in store.all()] == ["c"]
