"""The search for strays: bounded, ended when it has to be, and not made for nothing."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from aged_catalog import HOUR, AgedCatalog
from cais.catalog.gc import Collector
from cais.catalog.settings import Policy
from cais.catalog.strays import find_strays


@pytest.fixture
def aged(tmp_path: Path) -> Iterator[AgedCatalog]:
    catalog = AgedCatalog(tmp_path / "root", Policy(grace_seconds=HOUR))
    yield catalog
    catalog.close()


class Bucket:
    """A store that has ``count`` blobs of which nobody knows, younger than any stray; None: more and more."""

    def __init__(self, count: int | None, made_unix: float = float("inf")) -> None:
        self._numbers: Any = itertools.count() if count is None else range(count)
        self._made_unix = made_unix
        self.listed = 0

    def stored(self) -> Iterator[tuple[dict[str, Any], int, float]]:
        for number in self._numbers:
            self.listed += 1
            yield {"upload": f"{number:032x}", "parts": []}, 1, self._made_unix

    def unfinished(self) -> Iterator[tuple[str, list[Any], float]]:
        return iter(())

    def name(self, location: dict[str, Any]) -> str:
        return str(location["upload"])


def test_a_large_bucket_takes_no_more_memory_than_a_small_one(aged: AgedCatalog) -> None:
    def peak(count: int) -> int:
        bucket: Any = Bucket(count)
        tracemalloc.start()
        try:
            assert list(find_strays(aged.database, bucket, 1.0)) == []
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is made once
    assert peak(100_000) < peak(100) + 200_000


def test_a_search_that_finds_nothing_ends_when_it_is_told_to(aged: AgedCatalog) -> None:
    asked = itertools.count()
    bucket: Any = Bucket(None)
    assert list(find_strays(aged.database, bucket, 1.0, lambda: next(asked) < 5)) == []
    assert 0 < bucket.listed < 10_000


def test_a_run_that_is_stopped_in_its_search_has_not_finished(aged: AgedCatalog) -> None:
    bucket: Any = Bucket(None)
    stop = lambda: bucket.listed > 1500  # noqa: E731
    Collector(aged.database, bucket, aged.settings.policy, stop=stop).run()
    assert 1500 < bucket.listed < 5000
    assert Collector(aged.database, aged.store, aged.settings.policy).run(every_seconds=HOUR) is not None


def test_it_is_looked_for_now_and_then(aged: AgedCatalog) -> None:
    def listed() -> int:
        bucket: Any = Bucket(10)
        assert Collector(aged.database, bucket, aged.settings.policy).run(strays_every_seconds=24 * HOUR) is not None
        return int(bucket.listed)

    assert listed() == 10
    assert listed() == 0, "not with each run"
    aged.grow_older(25 * HOUR)
    assert listed() == 10
