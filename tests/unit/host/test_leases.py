"""Leases: what a process holds while it lives, and what is found of it afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cais.engine.schema import SCHEMAS
from cais.engine.stores import SCHEMA_VERSION
from cais.host.database import Database
from cais.host.leases import Leases


@pytest.fixture
def database(tmp_path):
    database = Database(str(tmp_path / "cais.db"), SCHEMA_VERSION, lambda: SCHEMAS)
    yield database
    database.close()


@pytest.fixture
def leases(tmp_path, database):
    leases = Leases(str(tmp_path), database)
    yield leases
    leases.release()


def held(database) -> list[tuple[str, str]]:
    return database.rows("SELECT lease, key FROM lease_items ORDER BY key")


def files(tmp_path) -> list[str]:
    return os.listdir(tmp_path / "leases") if (tmp_path / "leases").exists() else []


def hold(leases: Leases, database: Database, key: str) -> None:
    with database.transaction() as change:
        leases.hold(change, key)


def bury(leases: Leases, database: Database) -> list[str]:
    with database.transaction() as change:
        return leases.bury_dead(change)


def test_nothing_is_taken_before_it_is_needed(tmp_path, leases, database):
    database.rows("SELECT 1")
    assert files(tmp_path) == []
    leases.release()
    assert files(tmp_path) == []


def test_held_twice_is_held_once_and_released_at_once(tmp_path, leases, database):
    for key in ("one", "two", "one"):
        hold(leases, database, key)
    assert held(database) == [(leases.id, "one"), (leases.id, "two")]
    assert files(tmp_path) == [leases.id]
    first = leases.id
    leases.release()
    assert held(database) == [] and files(tmp_path) == []
    leases.release()
    hold(leases, database, "three")
    assert leases.id != first, "a released lease is not taken again"


def test_a_rolled_back_hold_is_none(leases, database):
    with pytest.raises(KeyError), database.transaction() as change:
        leases.hold(change, "one")
        raise KeyError
    assert held(database) == []


def test_the_living_are_not_buried(tmp_path, leases, database):
    other = Leases(str(tmp_path), database)
    hold(leases, database, "mine")
    hold(other, database, "theirs")
    assert bury(leases, database) == []
    assert other.is_alive(leases.id) and leases.is_alive(other.id) and leases.is_alive(leases.id)
    assert len(held(database)) == 2
    other.release()
    assert not leases.is_alive("00" * 8)
    assert files(tmp_path) == [leases.id], "a question leaves no file"


def test_a_killed_process_s_lease_is_dead_and_buried(tmp_path, leases, database):
    hold(leases, database, "mine")
    database.close()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        theirs = Leases(str(tmp_path), Database(str(tmp_path / "cais.db"), SCHEMA_VERSION, lambda: SCHEMAS))
        hold(theirs, theirs._database, "theirs")
        os.write(write, theirs.id.encode())
        signal.pause()
        os._exit(1)
    name = os.read(read, 64).decode()
    assert leases.is_alive(name) and bury(leases, database) == []
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not leases.is_alive(name)
    assert bury(leases, database) == [name]
    assert held(database) == [(leases.id, "mine")] and files(tmp_path) == [leases.id]
    assert bury(leases, database) == []


def test_rows_without_a_file_are_buried(tmp_path, leases, database):
    with database.transaction() as change:
        change.execute("INSERT INTO lease_items VALUES ('lost', 'x')")
    assert bury(leases, database) == ["lost"]
    assert held(database) == []


def test_a_release_whose_file_is_gone(tmp_path, leases, database):
    hold(leases, database, "one")
    os.unlink(tmp_path / "leases" / leases.id)
    leases.release()
    assert held(database) == []


def test_a_release_that_cannot_be_written_still_ends_the_lease(tmp_path, database):
    """On a full disk: the rows stay, and the next collector sees that they are a dead lease's."""
    leases, other = Leases(str(tmp_path), database), Leases(str(tmp_path), database)
    hold(leases, database, "one")
    name = leases.id
    database.rows("PRAGMA query_only=ON")
    try:
        leases.release()
    except Exception as error:
        assert "readonly" in str(error)
    finally:
        database.rows("PRAGMA query_only=OFF")
    assert not other.is_alive(name)
    assert bury(other, database) == [name]
    assert held(database) == []


def test_threads_share_one(tmp_path, leases, database):
    ids = []

    def take() -> None:
        ids.append(leases.id)
        database.close()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1 and files(tmp_path) == ids[:1]


def test_takers_beside_collectors(tmp_path, database):
    """A collector that finds a fresh file that is not locked yet removes it; its taker takes another."""
    database.rows("SELECT 1")
    database.close()
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                own = Database(str(tmp_path / "cais.db"), SCHEMA_VERSION, lambda: SCHEMAS)
                for turn in range(40):
                    leases = Leases(str(tmp_path), own)
                    if number < 2:
                        bury(leases, own)
                        continue
                    hold(leases, own, f"{number}.{turn}")
                    assert os.path.exists(tmp_path / "leases" / leases.id)
                    assert own.row("SELECT 1 FROM lease_items WHERE lease = ?", (leases.id,)) is not None
                    leases.release()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    assert held(database) == []


def test_a_release_beside_holders_in_transactions(leases, database):
    """What has a transaction may need the lease, and what ends the lease needs a transaction."""

    def hold() -> None:
        for number in range(100):
            with database.transaction() as change:
                leases.hold(change, f"key{number}")
        database.close()

    holders = [threading.Thread(target=hold, daemon=True) for _ in range(2)]
    for holder in holders:
        holder.start()
    while any(holder.is_alive() for holder in holders):
        releaser = threading.Thread(target=lambda: (leases.release(), database.close()), daemon=True)
        releaser.start()
        releaser.join(20)
        assert not releaser.is_alive(), "they wait for each other"
