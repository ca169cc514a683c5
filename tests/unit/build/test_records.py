"""Build records: found by key while their snapshots are there, compared with the last time, pruned."""

from __future__ import annotations

import pytest

from cais.build.records import LISTINGS_KEPT, Record, Records
from cais.engine import Settings
from cais.engine.stores import Stores
from cais.spec.digest import Digest


@pytest.fixture
def stores(tmp_path):
    stores = Stores(Settings(str(tmp_path / "root")))
    yield stores
    stores.close()


@pytest.fixture
def records(stores):
    return Records(stores.database)


def record(key: str, step: str = "step", **parts) -> Record:
    return Record(key, step, Digest.of(key.encode()), Digest.of(b"diff"), 512, 7, parts)


def make_snapshot(stores: Stores, chain: Digest) -> None:
    with stores.database.transaction() as change:
        change.execute("INSERT INTO snapshots (id, chain_id, lease) VALUES (?, ?, '')", (chain.hex[:8], chain))


def test_found_only_with_its_snapshot(stores, records):
    kept = record("key", args=["sh", "-c", "\udcff"], env={"A": "ü"})
    records.put(kept)
    assert records.find("key") is None and records.find("other") is None
    make_snapshot(stores, kept.chain_id)
    assert records.find("key") == kept
    assert records.latest("step") == kept and records.latest("none") is None


def test_the_same_key_again(stores, records):
    records.put(record("key", n=1))
    records.put(record("key", n=2))
    assert records.latest("step").parts == {"n": 2}


def test_the_latest_is_the_last_one_used(stores, records):
    for key in ("a", "b"):
        made = record(key)
        records.put(made)
        make_snapshot(stores, made.chain_id)
    with stores.database.transaction() as change:
        change.execute("UPDATE build_records SET used = 1, created = 1 WHERE key = 'a'")
        change.execute("UPDATE build_records SET used = 2, created = 2 WHERE key = 'b'")
    assert records.latest("step").key == "b"
    with stores.database.transaction() as change:
        assert records.touch(change, ["a"])
    assert records.latest("step").key == "a"


def test_what_is_gone_cannot_be_touched(stores, records):
    made = record("here")
    records.put(made)
    make_snapshot(stores, made.chain_id)
    records.put(record("collected"))
    with stores.database.transaction() as change:
        assert records.touch(change, []) and records.touch(change, ["here"])
        assert not records.touch(change, ["here", "collected"])
        assert not records.touch(change, ["never", "here"])


def test_listings_of_the_last_few_results_of_each_step(stores, records):
    for number in range(10):
        for step in ("one", "two"):
            key = f"{step}{number}"
            files = Digest.of(key.encode())
            records.put(record(key, step, files=files), (files, b"%d" % number))
            with stores.database.transaction() as change:  # days apart
                change.execute("UPDATE build_records SET used = ?, created = ? WHERE key = ?", (number, number, key))
    kept = {
        (step, number)
        for number in range(10)
        for step in ("one", "two")
        if records.listing(Digest.of(f"{step}{number}".encode())) is not None
    }
    assert kept == {(step, number) for step in ("one", "two") for number in range(10 - LISTINGS_KEPT, 10)}


def test_listings_without_a_record_are_forgotten(stores, records):
    records.put(record("key", files="sha256:a"), ("sha256:a", b"a"))
    records.put(record("run"), ("sha256:b", b"b"))
    with stores.database.transaction() as change:
        Records.forget_listings(change)
    assert records.listing("sha256:a") == b"a" and records.listing("sha256:b") is None


def test_forgotten_by_result(stores, records):
    chain = Digest.of(b"result")
    records.put(record("key", files="sha256:a")._replace(chain_id=chain), ("sha256:a", b"a"))
    records.put(record("other")._replace(chain_id=chain))
    assert {item.key for item in records.of_chain(chain)} == {"key", "other"}
    with stores.database.transaction() as change:
        Records.forget(change, [chain], "test")
    assert records.latest("step") is None and records.of_chain(chain) == []
