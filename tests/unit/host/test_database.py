from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from cais.errors import Conflict, Corrupt, Denied, Failed, Unavailable
from cais.host.database import Database

SCHEMAS = {"room": ("CREATE TABLE things (name TEXT PRIMARY KEY); CREATE TABLE more (n INTEGER)",)}


def opened(tmp_path, version=1, schemas=SCHEMAS) -> Database:
    return Database(str(tmp_path / "root" / "cais.db"), version, lambda: schemas)


def test_makes_its_directory_and_tables_and_keeps_what_is_committed(tmp_path):
    with opened(tmp_path).transaction() as change:
        change.execute("INSERT INTO things VALUES (?)", ("a",))
    assert opened(tmp_path).rows("SELECT name FROM things") == [("a",)]


def test_is_its_owners_alone_whatever_the_directory_says(tmp_path):
    (tmp_path / "root").mkdir(mode=0o755)
    with opened(tmp_path).transaction() as change:
        change.execute("INSERT INTO things VALUES (?)", ("a",))
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "root").iterdir()}
    assert {"cais.db", "cais.db-wal", "cais.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_who_has_the_time_keeps_the_log_short(tmp_path):
    database = opened(tmp_path)
    log = tmp_path / "root" / "cais.db-wal"

    def write(times: int) -> int:
        for number in range(times):
            with database.transaction() as change:
                change.execute("INSERT INTO more VALUES (?)", (number,))
        return log.stat().st_size

    before = write(1)
    database.write_back_soon()
    page = 4096 + 24
    assert write(400) - before < 300 * page
    assert opened(tmp_path).row("SELECT count(*) FROM more") == (401,)


def test_rolls_back_where_anything_is_raised(tmp_path):
    database = opened(tmp_path)
    with pytest.raises(Conflict), database.transaction() as change:
        change.execute("INSERT INTO things VALUES ('a')")
        raise Conflict("no")
    assert database.rows("SELECT name FROM things") == []
    with database.transaction() as change:
        change.execute("INSERT INTO things VALUES ('b')")
    assert database.row("SELECT name FROM things") == ("b",)


def test_migrates_a_room_by_the_steps_it_lacks(tmp_path):
    with opened(tmp_path).transaction() as change:
        change.execute("INSERT INTO things VALUES ('old')")
    newer = {
        "room": (*SCHEMAS["room"], "ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 7"),
        "other": ("CREATE TABLE o (x)",),
    }
    database = opened(tmp_path, 3, newer)
    assert database.rows("SELECT name, size FROM things") == [("old", 7)]
    assert database.rows("SELECT * FROM o") == []


def test_refuses_a_database_of_a_newer_version(tmp_path):
    opened(tmp_path, 3, {"room": (*SCHEMAS["room"], "CREATE TABLE x (y)", "CREATE TABLE z (y)")}).rows("SELECT 1")
    with pytest.raises(Unavailable, match="newer version"):
        opened(tmp_path).rows("SELECT 1")


def test_who_comes_while_another_makes_it_waits(tmp_path):
    """SQLite itself refuses at once to make a file one with a log that somebody else writes."""
    (tmp_path / "root").mkdir()
    with closing(sqlite3.connect(tmp_path / "root" / "cais.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        found = []
        late = threading.Thread(target=lambda: found.append(opened(tmp_path).row("SELECT count(*) FROM things")))
        late.start()
        late.join(0.3)
        assert late.is_alive()
        other.execute("ROLLBACK")
    late.join(20)
    assert found == [(0,)]


def test_many_processes_make_it_at_once(tmp_path):
    for turn in range(10):
        read, write = os.pipe()
        children = []
        for _ in range(6):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.close(write)
                    os.read(read, 1)  # until all are there
                    with opened(tmp_path / str(turn)).transaction() as change:
                        change.execute("INSERT INTO more VALUES (1)")
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        os.close(write)
        os.close(read)
        assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} == {0}
        assert opened(tmp_path / str(turn)).row("SELECT count(*) FROM more") == (6,)


@pytest.mark.root
def test_another_users_root_directory_is_only_read(tmp_path):
    database = opened(tmp_path)
    with database.transaction() as change:
        change.execute("INSERT INTO things VALUES ('a')")
    database.close()
    os.chown(tmp_path / "root" / "cais.db", 1234, 1234)
    other = opened(tmp_path)
    assert other.rows("SELECT name FROM things") == [("a",)]
    for _ in range(2):
        with pytest.raises(Denied, match="belongs to user 1234"), other.transaction():
            pass
    other.close()
    assert os.listdir(tmp_path / "root") == ["cais.db"]


def test_a_file_for_a_root_directory_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"root directory .*/file: it is not a directory") as raised:
        Database(str(tmp_path / "file" / "cais.db"), 1, lambda: SCHEMAS).rows("SELECT 1")
    assert "CAIS_ROOT" in raised.value.hint


def test_a_failed_migration_leaves_the_old_tables(tmp_path):
    opened(tmp_path).rows("SELECT 1")
    broken = {"room": (*SCHEMAS["room"], "CREATE TABLE fine (x); CREATE TABLE things (again)")}
    with pytest.raises(Failed, match="already exists"):
        opened(tmp_path, 2, broken).rows("SELECT 1")
    names = {row[0] for row in opened(tmp_path).rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "fine" not in names and "things" in names


def test_what_is_no_database_is_corrupt(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cais.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Corrupt, match="damaged"):
        opened(tmp_path).rows("SELECT 1")


def test_many_threads_write_at_once(tmp_path):
    database = opened(tmp_path)

    def work(number: int) -> None:
        for index in range(20):
            with database.transaction() as change:
                change.execute("INSERT INTO things VALUES (?)", (f"{number}-{index}",))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.row("SELECT count(*) FROM things") == (160,)


def test_a_process_killed_within_a_transaction_leaves_nothing_of_it(tmp_path):
    code = (
        "import os, sys; from cais.host.database import Database\n"
        f"db = Database({os.fspath(tmp_path / 'root' / 'cais.db')!r}, 1, lambda: {SCHEMAS!r})\n"
        "with db.transaction() as c:\n"
        "    c.execute(\"INSERT INTO things VALUES ('half')\")\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert opened(tmp_path).rows("SELECT * FROM things") == []


def test_a_full_disk_is_unavailable_and_says_so(tmp_path):
    database = opened(tmp_path)
    pages = database.row("PRAGMA page_count")[0]
    database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="no space left"), database.transaction() as change:
        change.execute_many("INSERT INTO things VALUES (?)", [(str(n) * 500,) for n in range(200)])
    assert database.rows("SELECT * FROM things") == []


def test_an_interrupt_while_others_write_leaves_no_transaction_open(tmp_path):
    """The signal is handled when SQLite's call returns: with the transaction that nobody would end."""
    database = opened(tmp_path)
    database.rows("SELECT 1")
    database.close()
    parent = os.getpid()
    ready_read, ready_write = os.pipe()
    going_read, going_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with opened(tmp_path).transaction():
                os.write(ready_write, b"+")
                os.read(going_read, 1)
                state = b"R"
                while state != b"S":  # it waits for the database
                    with open(f"/proc/{parent}/stat", "rb") as status:
                        state = status.read().rpartition(b")")[2].split()[0]
                os.kill(parent, signal.SIGINT)
        finally:
            os._exit(0)
    os.read(ready_read, 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            os.write(going_write, b"+")
            with database.transaction():
                raise AssertionError("not interrupted")
    finally:
        signal.signal(signal.SIGINT, before)
        os.waitpid(child, 0)
    with database.transaction() as change:
        change.execute("INSERT INTO things VALUES ('after')")
    assert database.rows("SELECT name FROM things") == [("after",)]


def test_a_thread_s_connection_ends_with_it(tmp_path):
    database = opened(tmp_path)
    database.rows("SELECT 1")

    def descriptors_after_a_thread() -> int:
        thread = threading.Thread(target=database.rows, args=("SELECT 1",))
        thread.start()
        thread.join()
        return len(os.listdir("/proc/self/fd"))

    # SQLite keeps a descriptor for the next one, while another connection of the process is open.
    first = descriptors_after_a_thread()
    assert [descriptors_after_a_thread() for _ in range(30)] == [first] * 30


def test_a_forked_child_leaves_the_connections_of_other_threads_alone(tmp_path):
    """Their locks may be held by threads that the child does not have: closing one would wait for ever."""
    database = opened(tmp_path)
    database.rows("SELECT 1")
    stop = threading.Event()
    threads = [threading.Thread(target=write_until, args=(database, stop)) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            child = os.fork()
            if child == 0:
                os._exit(0)
            end = time.monotonic() + 20
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    raise AssertionError("the child hangs")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def write_until(database: Database, stop: threading.Event) -> None:
    while not stop.is_set():
        with database.transaction() as change:
            change.execute("INSERT INTO more VALUES (1)")
        database.rows("SELECT count(*) FROM more")
