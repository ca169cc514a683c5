"""A hundred thousand uploads that were begun and never ended."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from sqlalchemy import Connection

from cais.records import repositories, unneeded, uploads
from cais.records.database import Database
from registry_process import RegistryProcess, digest_of, registry_process

MANY = 100_000
WITH_BYTES = 2000
DEADLINE_SECONDS = 120.0
MEMORY_LIMIT_MIB = 150


def many(root: Path, updated_unix: float) -> None:
    """As so many requests would leave them; the files of some."""
    with closing(sqlite3.connect(root / "registry.db")) as database, database:
        database.execute(
            "INSERT INTO repositories (name, is_public, created_unix) VALUES ('crowd/x', false, ?)", (updated_unix,)
        )
        (number,) = database.execute("SELECT id FROM repositories").fetchone()
        rows = ((f"{count:032x}", number, updated_unix, updated_unix, 4, "[]") for count in range(MANY))
        database.executemany(
            "INSERT INTO uploads (id, repository_id, started_unix, updated_unix, offset_bytes, parts)"
            " VALUES (?, ?, ?, ?, ?, ?)", rows,
        )  # fmt: skip
    (root / "uploads").mkdir(exist_ok=True)
    for count in range(WITH_BYTES):
        (root / "uploads" / f"{count:032x}").write_bytes(b"some")


def count_of(root: Path) -> int:
    with closing(sqlite3.connect(root / "registry.db", timeout=DEADLINE_SECONDS)) as database:
        return int(database.execute("SELECT count(*) FROM uploads").fetchone()[0])


def peak_mib(server: RegistryProcess) -> int:
    """Of the largest of its processes."""
    number = server.process.pid
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    found = []
    for process in (str(number), *children):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        found.extend(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
    return max(found)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.upgrade()
    database.close()
    return tmp_path


def test_they_are_in_nobodys_way_and_go_when_they_are_old(root: Path) -> None:
    many(root, 1.0)
    settings = ("uploads.expire=1h", "gc.interval=1s", "gc.batch=5000")
    flags = [word for one in settings for word in ("--set", one)]
    with registry_process(root, "--workers", "1", *flags) as server:
        begun = server.request("POST", "/v2/crowd/x/blobs/uploads/").headers["location"]
        deadline = time.monotonic() + DEADLINE_SECONDS
        while count_of(root) > 1:
            server.push_blob("crowd/x", time.monotonic().hex().encode())  # beside the collector
            assert time.monotonic() < deadline, count_of(root)
        assert server.request("PATCH", begun, b"young").status == 202
        assert server.request("PUT", f"{begun}?digest={digest_of(b'young')}").status == 201
        while list((root / "uploads").iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert peak_mib(server) < MEMORY_LIMIT_MIB
        assert server.stop() == 0


def test_finding_one_of_them_reads_no_others(root: Path) -> None:
    """Each statement of an upload's requests, and of the collector's, goes by an index, however many there are."""
    asked: set[str] = set()
    with closing(Database(f"sqlite:///{root}/registry.db")) as database:

        def run(connection: Connection) -> None:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.set_trace_callback(asked.add)
            number = repositories.ensure(database, connection, "crowd/x", public=False)
            uploads.begin(database, connection, ["u"], number)
            begun = uploads.UploadRow("u", number, 0, [])
            uploads.advance(database, connection, begun, begun._replace(offset_bytes=4))
            uploads.end(database, connection, "u", 4)
            unneeded.remove_uploads(connection, [("u",), ("v",)], 1.0)
            driver.set_trace_callback(None)

        database.write(run)
        assert uploads.find(database, "crowd/x", "u") is None
    with closing(sqlite3.connect(root / "registry.db")) as connection:
        plans = {
            text: connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall() for text in asked if "uploads" in text
        }
    assert len(plans) >= 4
    assert not [plan for plan in plans.values() for row in plan if re.match("SCAN (uploads|repositories)", row[3])], (
        plans
    )
