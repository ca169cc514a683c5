"""Backup and restore: everything, of one moment, only what is new; to another place."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from aged_catalog import CONFIG, HOUR, AgedCatalog
from cais.catalog import backup as backups
from cais.catalog.backup import backup, restore
from cais.catalog.backup_archive import backup_archive, restore_archive
from cais.catalog.check import Check
from cais.catalog.settings import Policy
from cais.errors import Conflict, Corrupt, Invalid
from cais.spec.digest import Digest


@pytest.fixture
def aged(tmp_path: Path) -> Iterator[AgedCatalog]:
    catalog = AgedCatalog(tmp_path / "root", Policy())
    for data in (CONFIG, b"one", b"two"):
        catalog.push_blob("team/app", data)
    first = catalog.push_image("team/app", "1", b"one")
    catalog.push_image("team/app", "", b"two", subject=first)
    catalog.push_index("team/app", "all", first)
    catalog.catalog.uploads.begin("team/app")
    yield catalog
    catalog.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[AgedCatalog]:
    catalog = AgedCatalog(tmp_path / "other", Policy())
    yield catalog
    catalog.close()


def same(first: AgedCatalog, second: AgedCatalog) -> bool:
    """Whether both have the same blobs, manifests and tags."""
    ones, others = first.links(), second.links()
    return ones == others and all(
        first.read_blob(name, Digest(digest)) == second.read_blob(name, Digest(digest)) for name, digest in ones[0]
    )


def test_there_and_back(aged: AgedCatalog, empty: AgedCatalog, tmp_path: Path) -> None:
    target = str(tmp_path / "backup")
    saved = backup(aged.database, aged.store, target)
    assert (saved.copied, saved.kept, saved.lost) == (3, 0, ())
    done = restore(empty.database, empty.store, target)
    assert (done.blobs, done.lost) == (3, ())
    assert same(aged, empty)
    assert empty.catalog.manifests.get("team/app", "all") == aged.catalog.manifests.get("team/app", "all")
    subject = aged.catalog.manifests.find("team/app", "1").digest
    assert len(empty.catalog.manifests.referrers("team/app", Digest(subject))[0]) == 1
    assert list(Check(empty.database, empty.store).run()) == []
    empty.push_blob("new/app", b"after")
    assert empty.has_blob("new/app", Digest.of(b"after")), "ids go on behind those that were restored"


def test_only_what_is_new_is_written_and_what_is_gone_is_removed(aged: AgedCatalog, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    backup(aged.database, aged.store, str(target))
    aged.push_blob("team/app", b"three")
    aged.catalog.manifests.delete("team/app", aged.catalog.manifests.referrers("team/app", _first(aged))[0][0].digest)  # type: ignore[arg-type]
    aged.grow_older(1000 * HOUR)
    aged.push_blob("team/app", b"three")
    aged.collect()
    saved = backup(aged.database, aged.store, str(target))
    assert (saved.copied, saved.kept) == (1, 2)
    files = {path.name for path in target.glob("blobs/*/*/*")}
    assert files == {Digest.of(data).hex for data in (CONFIG, b"one", b"three")}


def _first(aged: AgedCatalog) -> Digest:
    return Digest(aged.catalog.manifests.find("team/app", "1").digest)


def test_what_is_damaged_in_the_registry_is_said_and_not_copied(
    aged: AgedCatalog, empty: AgedCatalog, tmp_path: Path
) -> None:
    digest = Digest.of(b"two")
    (path,) = aged.root.glob(f"blobs/*/*/{digest.hex}.*")
    path.write_bytes(b"TWO")
    target = str(tmp_path / "backup")
    assert backup(aged.database, aged.store, target).lost == (digest,)
    assert restore(empty.database, empty.store, target).lost == (digest,)
    assert not empty.has_blob("team/app", digest) and empty.has_blob("team/app", Digest.of(b"one"))


def test_what_is_damaged_in_the_backup_is_not_restored(aged: AgedCatalog, empty: AgedCatalog, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    backup(aged.database, aged.store, str(target))
    (path,) = target.glob(f"blobs/*/*/{Digest.of(b'one').hex}")
    path.write_bytes(b"ONE")
    with pytest.raises(Corrupt, match="have changed"):
        restore(empty.database, empty.store, str(target))
    assert empty.links() == (set(), set())
    path.write_bytes(b"one")
    restore(empty.database, empty.store, str(target))
    assert same(aged, empty), "what was interrupted can be repeated"
    records = target / "records.jsonl.gz"
    records.write_bytes(records.read_bytes()[:-20])
    with pytest.raises((Corrupt, Conflict)):
        restore(empty.database, empty.store, str(target))


def test_only_into_an_empty_registry_and_only_a_backup(aged: AgedCatalog, empty: AgedCatalog, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    backup(aged.database, aged.store, str(target))
    with pytest.raises(Conflict, match="not empty"):
        restore(aged.database, aged.store, str(target))
    with pytest.raises(Invalid, match="no backup"):
        restore(empty.database, empty.store, str(tmp_path))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    with pytest.raises(Invalid, match="something else"):
        backup(aged.database, aged.store, str(tmp_path / "full"))
    about = target / "registry.json"
    about.write_text(about.read_text().replace(f'"format": {backups.FORMAT}', '"format": 99'))
    with pytest.raises(Invalid, match="99"):
        restore(empty.database, empty.store, str(target))


def test_an_archive_there_and_back(aged: AgedCatalog, empty: AgedCatalog) -> None:
    archive = io.BytesIO()
    saved = backup_archive(aged.database, aged.store, archive)
    assert (saved.copied, saved.lost) == (3, ())
    for cut in (0, 100, 2000, archive.getvalue().index(b"registry.json")):
        with pytest.raises((Invalid, Corrupt)):
            restore_archive(empty.database, empty.store, io.BytesIO(archive.getvalue()[:cut]))
        assert empty.links() == (set(), set())
    changed = archive.getvalue().replace(b"one", b"ONE", 1)
    with pytest.raises(Corrupt, match="damaged"):
        restore_archive(empty.database, empty.store, io.BytesIO(changed))
    archive.seek(0)
    assert restore_archive(empty.database, empty.store, archive).blobs == 3
    assert same(aged, empty)
    assert empty.catalog.manifests.get("team/app", "all") == aged.catalog.manifests.get("team/app", "all")
    assert list(Check(empty.database, empty.store).run()) == []
    archive.seek(0)
    with pytest.raises(Conflict, match="not empty"):
        restore_archive(empty.database, empty.store, archive)


@pytest.mark.parametrize("damage", ["removed", "shorter", "changed"])
def test_an_archive_of_a_damaged_registry_says_what_it_lacks(
    aged: AgedCatalog, empty: AgedCatalog, damage: str
) -> None:
    digest = Digest.of(b"two")
    (path,) = aged.root.glob(f"blobs/*/*/{digest.hex}.*")
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b"t" if damage == "shorter" else b"TWO")
    archive = io.BytesIO()
    assert backup_archive(aged.database, aged.store, archive).lost == (digest,)
    archive.seek(0)
    assert restore_archive(empty.database, empty.store, archive).lost == (digest,)
    assert not empty.has_blob("team/app", digest) and empty.has_blob("team/app", Digest.of(b"one"))


def test_every_table_is_saved_or_named_as_one_of_the_moment(aged: AgedCatalog, tmp_path: Path) -> None:
    from cais.records import whole
    from cais.records.metadata import METADATA

    assert {table.name for table in whole.tables()} | whole.OF_THE_MOMENT == set(METADATA.tables)
