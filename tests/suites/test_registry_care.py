"""What an operator does to a registry, on each pair of stores: collect, check, back up, restore to the other pair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("obstore")

import stored_catalogs
from aged_catalog import CONFIG, image
from cais.catalog.backup import backup, restore
from cais.catalog.check import Check
from cais.catalog.gc import Collector, Report
from cais.catalog.settings import Policy
from cais.records.database import Database
from cais.spec.digest import Digest

NOW = Policy(grace_seconds=0.0, untagged_seconds=0.001, batch=2)


class Opened:
    """A catalog, and the stores that it stands on."""

    def __init__(self, pair: stored_catalogs.Pair, stack: ExitStack) -> None:
        self.catalog = stack.enter_context(pair.catalog())
        self.database = Database(pair.database_url)
        self.blobs = pair.blobs()
        stack.callback(self.database.close)
        stack.callback(self.blobs.close)

    def push(self, repository: str, data: bytes) -> Digest:
        received = self.catalog.uploads.receive_whole(repository, "sha256")
        try:
            received.write([data])
            received.finish(Digest.of(data))
        finally:
            received.close()
        return Digest.of(data)

    def push_image(self, repository: str, tag: str, *layers: bytes) -> Digest:
        for data in (CONFIG, *layers):
            self.push(repository, data)
        return self.catalog.manifests.put(repository, image(*layers), "", tagged=[tag]).digest

    def read(self, repository: str, data: bytes) -> bytes:
        blob = self.catalog.blobs.open(repository, Digest.of(data))
        try:
            return b"".join(blob.read(0, blob.size_bytes))
        finally:
            blob.close()

    def collect(self) -> Report:
        report = Collector(self.database, self.blobs, NOW).run()
        assert report is not None
        return report

    def faults(self) -> list[str]:
        return [fault.what for fault in Check(self.database, self.blobs).run()]


@pytest.fixture(params=[stored_catalogs.embedded, stored_catalogs.replicated])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    with ExitStack() as stack:
        yield Opened(request.param(request, tmp_path / "one"), stack)


def test_only_what_is_needed_stays(opened: Opened) -> None:
    opened.push_image("app", "1", b"kept", b"both")
    gone = opened.push_image("app", "2", b"gone", b"both")
    opened.catalog.tags.delete("app", "2")
    foreseen = Collector(opened.database, opened.blobs, NOW).foresee()
    assert opened.collect() == foreseen
    assert (foreseen.manifests, foreseen.links, foreseen.blobs) == (1, 1, 1)
    assert not opened.catalog.manifests.referrers("app", gone)[0]
    assert (opened.read("app", b"kept"), opened.read("app", b"both")) == (b"kept", b"both")
    assert len(list(opened.blobs.stored())) == 3
    opened.push("app", b"gone")
    assert opened.read("app", b"gone") == b"gone"
    assert opened.faults() == []


def test_what_many_manifests_share_stays_where_one_of_them_is(opened: Opened) -> None:
    opened.push_image("app", "0", b"base")
    for number in range(1, 60):
        content = image(b"base").replace(b'"schemaVersion": 2', b'"schemaVersion": 2, "number": %d' % number)
        opened.catalog.manifests.put("app", content, "", tagged=[str(number)])
    opened.push("other", b"base")
    assert opened.collect().links == 1
    assert opened.read("app", b"base") == b"base"
    for number in range(59):
        opened.catalog.tags.delete("app", str(number))
    assert opened.collect().manifests == 59
    assert opened.read("app", b"base") == b"base"
    opened.catalog.tags.delete("app", "59")
    assert opened.collect().blobs == 2
    assert opened.faults() == []


def test_bytes_that_are_lost_are_found_and_come_back(opened: Opened) -> None:
    opened.push_image("app", "1", b"x" * (2 << 20), b"two")
    (location,) = [location for location, size, _ in opened.blobs.stored() if size == 2 << 20]
    opened.blobs.remove(location)
    assert len(opened.faults()) == 1
    for fault in Check(opened.database, opened.blobs, repair=True).run():
        assert "lost" in fault.what or "refers to" in fault.what
    opened.push("app", b"x" * (2 << 20))
    assert opened.faults() == []


def test_a_backup_moves_to_the_other_pair(opened: Opened, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    opened.push_image("team/app", "1", b"one", b"x" * (3 << 20))
    target = str(tmp_path / "backup")
    assert backup(opened.database, opened.blobs, target).lost == ()
    other: Any = stored_catalogs.replicated if opened.database.is_sqlite else stored_catalogs.embedded
    with ExitStack() as stack:
        second = Opened(other(request, tmp_path / "two"), stack)
        assert restore(second.database, second.blobs, target).blobs == 3
        assert second.faults() == []
        assert second.catalog.manifests.get("team/app", "1")[1] == opened.catalog.manifests.get("team/app", "1")[1]
        assert second.read("team/app", b"x" * (3 << 20)) == b"x" * (3 << 20)
        second.push_image("new/app", "1", b"after")
        assert second.faults() == []
