"""The figures of `system df` add up to what is there, and what is called reclaimable can be reclaimed."""

from __future__ import annotations

import pytest

from cais.engine.build_prune import PruneOptions
from cais.engine.usage import usage

pytestmark = pytest.mark.root


def rows(work) -> dict[str, tuple[int, int, int, int]]:
    return {row.kind: tuple(row[1:]) for row in usage(work.stores)}


def stored(work) -> int:
    """All that is there, by the tables."""
    database = work.stores.database
    return int(
        database.row("SELECT coalesce(sum(size_bytes), 0) FROM blobs")[0]
        + database.row("SELECT coalesce(sum(size_bytes), 0) FROM snapshots")[0]
    )


def test_nothing(work):
    assert rows(work) == {
        "Images": (0, 0, 0, 0),
        "Containers": (0, 0, 0, 0),
        "Local Volumes": (0, 0, 0, 0),
        "Build Cache": (0, 0, 0, 0),
    }


def test_images_and_cache_are_all_that_is_stored(work):
    work.write({"one": "1" * 100_000, "two": "2" * 50_000})
    work.build("FROM scratch AS one\nCOPY one /\nFROM one AS two\nCOPY two /\n", target="one", tags=["one"])
    work.build(target="two", tags=["two"])
    found = rows(work)
    assert found["Images"] == (2, 0, stored(work), stored(work)) and found["Build Cache"] == (0, 0, 0, 0)
    work.engine.images.remove("two")
    found = rows(work)
    assert found["Images"][0] == 1 and found["Build Cache"][0] == 1
    assert found["Images"][2] + found["Build Cache"][2] == stored(work)
    work.engine.images.remove("one")
    found = rows(work)
    assert found["Images"][:2] == (0, 0) and found["Build Cache"][0] == 2
    assert found["Build Cache"][2] == stored(work)
    assert (
        found["Build Cache"][3]
        == work.engine.builder.prune(PruneOptions(all=True, filters=["type=regular"])).reclaimed_bytes
    )
    assert stored(work) == 0


def test_the_layers_below_the_cache_count_when_their_image_is_gone(based):
    based.build("FROM base\nCOPY <<END /x\nx\nEND\n")
    image = based.engine.builder.list()[0].image
    based.engine.images.remove(image)
    based.engine.images.remove("base")
    found = rows(based)
    assert found["Images"][0] == 0
    assert found["Images"][2] + found["Build Cache"][2] == stored(based)
    assert found["Build Cache"][2] >= 1_000_000, "busybox is there, and counted"


def test_what_a_container_s_image_shares_is_not_reclaimable(based):
    based.write({"big": "x" * 3_000_000})
    based.build("FROM base\nCOPY big /\n", tags=["app"])
    before = rows(based)["Images"]
    from cais.container.options import RunOptions

    based.in_thread(lambda: based.engine.containers.create(RunOptions(image="app")))
    total, active, size, reclaimable = rows(based)["Images"]
    assert (total, active, size) == (2, 1, before[2])
    base = based.engine.images.get("base")
    own = sum(based.stores.content.size_of(digest) for digest in {base.digest, base.id})
    assert own <= reclaimable < 100_000, "only base's own documents: its layer is app's, too"
