"""The bound of the build cache: kept after builds, the longest unused first, and cheap while nothing is beyond it."""

from __future__ import annotations

import os
import threading
import time

import pytest

from cais.build.records import Record, Records
from cais.engine import Engine, Settings
from cais.engine.build_bound import bound, enforce
from cais.engine.build_prune import PruneOptions
from cais.engine.stores import Stores
from cais.errors import Invalid
from cais.spec.digest import Digest


def generated(root: str, count: int, size_bytes: int = 1000) -> Stores:
    """A root directory with so many records, one above the other in tens; the later the number, the later used."""
    # How full the disk of the tests is does not matter.
    stores = Stores(Settings(root, build_cache_free="0"))
    records = Records(stores.database)
    parent = None
    for number in range(count):
        if number % 10 == 0:
            parent = None
        diff_id = Digest.of(b"%d" % number)
        chain = diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode())
        with stores.database.transaction() as change:
            change.execute(
                "INSERT INTO snapshots (id, chain_id, parent, diff_id, size_bytes, lease) VALUES (?, ?, ?, ?, ?, '')",
                (f"{number:x}", chain, parent, diff_id, size_bytes),
            )
        records.put(
            Record(
                Digest.of(f"key {number}".encode()).hex, f"step {number}", chain, diff_id, size_bytes, 0,
                {"args": ["/bin/sh", "-c", f"echo {number} " + "x" * 200], "env": {"PATH": "/bin"}},
                "stage", "instruction", {"title": f"RUN echo {number}", "stage": "stage", "place": "/Dockerfile"},
            )
        )  # fmt: skip
        with stores.database.transaction() as change:
            change.execute(
                "UPDATE build_records SET used = used - ? WHERE chain_id = ?", ((count - number) / 86400, chain)
            )
        parent = chain
    return stores


@pytest.fixture
def stores(tmp_path):
    made = generated(str(tmp_path / "root"), 30)
    yield made
    made.close()


def within(stores, **settings):
    return Stores(stores.settings._replace(**settings))


def left(stores):
    return stores.database.row("SELECT count(*) FROM build_records")[0]


def test_defaults(stores):
    disk = os.statvfs(stores.root)
    total = disk.f_blocks * disk.f_frsize
    limits = bound(within(stores, build_cache_free=""))
    assert limits.max_used == min(100 * 10**9, total * 80 // 100) and limits.min_free == total // 5
    assert limits.reserved == min(10 * 10**9, total // 10) and limits.age_seconds == 60 * 86400


@pytest.mark.parametrize(
    ("text", "bytes_count"), [("20GB", 20 * 10**9), ("512 MiB", 512 << 20), ("1.5kb", 1500), ("0", 0), ("7", 7)]
)
def test_sizes(stores, text, bytes_count):
    assert bound(within(stores, build_cache_size=text)).max_used == bytes_count


@pytest.mark.parametrize("text", ["much", "-1", "1ZB", "%", "200%", "1e400GB", "GB"])
def test_no_sizes(stores, text):
    with pytest.raises(Invalid, match="build_cache_size"):
        bound(within(stores, build_cache_size=text))


def test_nothing_goes_within_the_bound(stores):
    enforce(stores)
    assert left(stores) == 30


def test_by_size_the_longest_unused_first(stores):
    enforce(within(stores, build_cache_size="15kb", build_cache_reserved="0"))
    assert left(stores) == 15
    kept = {row[0] for row in stores.database.rows("SELECT step FROM build_records")}
    # Whole towers from below cannot go: what is kept stands on what is kept.
    assert kept == {f"step {number}" for number in (*range(10, 15), *range(20, 30))}


def test_what_is_reserved_stays(stores):
    enforce(within(stores, build_cache_size="5kb", build_cache_reserved="20kb"))
    assert left(stores) == 20


def test_a_full_disk(stores):
    enforce(within(stores, build_cache_free="100%", build_cache_reserved="10kb"))
    assert left(stores) == 10


def test_by_age(stores):
    with stores.database.transaction() as change:
        change.execute("UPDATE build_records SET used = used - 61 WHERE step IN ('step 9', 'step 8', 'step 3')")
    enforce(stores)
    assert left(stores) == 28, "step 3 is stood upon"
    enforce(within(stores, build_cache_age="0", build_cache_size="0", build_cache_free="0"))
    assert left(stores) == 28


def test_what_went_is_said(stores):
    enforce(within(stores, build_cache_size="15kb", build_cache_reserved="0"))
    gone = Records(stores.database).pruned(Digest.of(b"key 0").hex, "step 0")
    assert gone is not None and gone.by == "the bound of the build cache"


def test_one_in_use_is_spared(stores):
    chain = Digest(stores.database.row("SELECT chain_id FROM build_records WHERE step = 'step 9'")[0])
    other = Stores(stores.settings)
    assert other.snapshots.hold(chain)
    enforce(within(stores, build_cache_size="1kb", build_cache_reserved="0"))
    assert left(stores) == 10
    other.close()


def test_two_prunes_at_once_take_everything_once(stores):
    reports = []

    def prune():
        with Engine(stores.settings) as engine:
            reports.append(engine.builder.prune(PruneOptions(filters=["type=regular"])))

    threads = [threading.Thread(target=prune) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(report.entries) for report in reports) == 30 and left(stores) == 0


def test_a_thousand_records(tmp_path):
    """Counted in queries: as many for a thousand as for one."""
    counts = []
    for number in (10, 1000):
        made = generated(str(tmp_path / str(number)), number)
        queries = []
        made.database._connection().set_trace_callback(queries.append)
        with Engine(made.settings) as engine:
            engine._stores._database = made.database
            started = time.monotonic()
            report = engine.builder.prune(PruneOptions(dry_run=True))
            print(f"{number} records: {(time.monotonic() - started) * 1000:.1f} ms")
        assert len(report.entries) == number
        counts.append(len(queries))
        made.close()
    assert counts[0] == counts[1]


@pytest.mark.root
def test_a_build_keeps_it(based):
    settings = based.engine.settings._replace(build_cache_size="300kb", build_cache_reserved="0")
    with Engine(settings) as engine:
        for number in range(5):
            based.write({"Dockerfile": f"FROM base\nRUN head -c 100000 /dev/zero > /{number}\n"})
            options = based.options(outputs=["type=tar,dest=/dev/null"])
            based.in_thread(lambda options=options: engine.builder.build(options))
        titles = {entry.description for entry in engine.builder.cache(["type=regular"])}
    assert titles == {f"[2/2] RUN head -c 100000 /dev/zero > /{number}" for number in (3, 4)}
    assert based.engine.system.check() == []
