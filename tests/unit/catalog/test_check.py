"""What a check finds, and what repairing does about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from aged_catalog import CONFIG, HOUR, AgedCatalog
from cais.catalog.check import Check
from cais.catalog.settings import Policy
from cais.records.manifests import MANIFEST_REFERENCES, MANIFESTS
from cais.records.tags import TAGS
from cais.spec.digest import Digest


@pytest.fixture
def aged(tmp_path: Path) -> Iterator[AgedCatalog]:
    catalog = AgedCatalog(tmp_path / "root", Policy())
    for data in (CONFIG, b"layer"):
        catalog.push_blob("app", data)
    catalog.push_image("app", "1", b"layer")
    yield catalog
    catalog.close()


def found(aged: AgedCatalog, **arguments: bool) -> list[tuple[str, str]]:
    return [(fault.what, fault.mended) for fault in Check(aged.database, aged.store, **arguments).run()]


def file_of(aged: AgedCatalog, data: bytes) -> Path:
    (path,) = aged.root.glob(f"blobs/*/*/{Digest.of(data).hex}.*")
    return path


def test_what_is_well(aged: AgedCatalog) -> None:
    check = Check(aged.database, aged.store)
    assert list(check.run()) == []
    assert (check.blobs, check.blob_bytes, check.manifests) == (2, len(CONFIG) + 5, 1)


@pytest.mark.parametrize(
    ("damage", "said", "fast"),
    [
        ("removed", "its bytes are lost", True),
        ("longer", "it has 6 bytes, not 5", True),
        ("changed", "its bytes are damaged", False),
    ],
)
def test_a_damaged_blob_is_forgotten_and_can_be_pushed_again(
    aged: AgedCatalog, damage: str, said: str, fast: bool
) -> None:
    path, digest = file_of(aged, b"layer"), Digest.of(b"layer")
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b"layer2" if damage == "longer" else b"LAYER")
    expected = f"blob {digest}: {said}"
    assert found(aged) == [(expected, "")]
    assert found(aged, fast=True) == ([(expected, "")] if fast else [])
    assert found(aged, repair=True)[0] == (expected, "forgotten: push it again")
    (left,) = found(aged)
    assert f"it refers to {digest}, which the repository has not" in left[0]
    aged.push_blob("app", b"layer")
    assert found(aged) == []
    assert aged.read_blob("app", digest) == b"layer"


def test_records_that_contradict_each_other(aged: AgedCatalog) -> None:
    manifest = aged.catalog.manifests.find("app", "1").digest
    with aged.database.reading() as connection:
        connection.execute(MANIFEST_REFERENCES.delete().where(MANIFEST_REFERENCES.c.kind == "layer"))
    said = f"manifest {manifest}: the records of what it refers to differ from it"
    assert found(aged) == [(said, "")]
    assert found(aged, repair=True) == [(said, "made again")]
    assert found(aged) == []
    with aged.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.execute(TAGS.insert().values(repository_id=1, name="loose", digest="sha256:0", updated_unix=0.0))
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    assert found(aged, repair=True) == [("app:loose: its manifest sha256:0 is not there", "removed")]
    assert found(aged) == []
    with aged.database.reading() as connection:
        connection.execute(MANIFESTS.update().values(content=b"{}", size_bytes=2))
    assert found(aged, repair=True) == [(f"manifest {manifest}: its bytes are damaged", "")]


def test_a_lost_link_is_made_again(aged: AgedCatalog) -> None:
    aged.push_blob("other", b"layer")
    digest = Digest.of(b"layer")
    aged.catalog.blobs.delete("app", digest)
    assert "linked again" in found(aged, repair=True)[0][1]
    assert found(aged) == []
    assert aged.read_blob("app", digest) == b"layer"


def test_where_manifests_may_refer_to_what_is_not_there_nothing_is_wrong(aged: AgedCatalog) -> None:
    aged.catalog.blobs.delete("app", Digest.of(b"layer"))
    aged.collect(strays=False)
    (fault,) = Check(aged.database, aged.store, accept_missing=True).run()
    assert fault.harmless


def test_strays_are_harmless_and_removed(aged: AgedCatalog) -> None:
    stray = aged.root / "blobs" / "sha256" / "00" / ("0" * 64 + ".aaaa")
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"lost")
    (aged.root / "uploads" / ("f" * 32)).write_bytes(b"begun")
    assert found(aged) == [], "they may be on their way"
    aged.grow_older(2 * HOUR)
    faults = list(Check(aged.database, aged.store).run())
    assert len(faults) == 2 and all(fault.harmless for fault in faults)
    assert [mended for _, mended in found(aged, repair=True)] == ["removed", "removed"]
    assert not stray.exists() and os.listdir(aged.root / "uploads") == []
