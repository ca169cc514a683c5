"""What the collector removes, what it keeps, and when."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from aged_catalog import CONFIG, HOUR, AgedCatalog
from cais.catalog.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from cais.catalog.gc import Collector, Report
from cais.catalog.settings import Policy
from cais.catalog.turns import COLLECTING, Turn, without_collector
from cais.spec.digest import Digest

POLICY = Policy(grace_seconds=10.5 * HOUR, untagged_seconds=20.5 * HOUR, uploads_seconds=30.5 * HOUR, batch=3)


@pytest.fixture(params=["sqlite", "postgresql"])
def aged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AgedCatalog]:
    url = request.getfixturevalue("postgres").with_schema() if request.param == "postgresql" else ""
    catalog = AgedCatalog(tmp_path / "root", POLICY, url)
    yield catalog
    catalog.close()


def test_an_image_stays_whole_and_goes_whole(aged: AgedCatalog) -> None:
    digests = [aged.push_blob("app", data) for data in (CONFIG, b"one", b"two")]
    manifest = aged.push_image("app", "1", b"one", b"two")
    aged.grow_older(1000 * HOUR)
    assert aged.collect() == Report()
    assert all(aged.read_blob("app", digest) for digest in digests)
    aged.catalog.tags.delete("app", "1")
    expected = Report(manifests=1, links=3, blobs=3, freed_bytes=len(CONFIG) + 6 + len(_content(aged, manifest)))
    assert aged.foresee() == expected
    assert aged.has("app", manifest), "a dry run removes nothing"
    assert aged.collect() == expected
    assert not aged.has("app", manifest)
    assert aged.files() == set(digests), "who reads them comes to the end"
    aged.grow_older(HOUR)
    assert aged.collect() == Report()
    assert aged.files() == set()


def _content(aged: AgedCatalog, manifest: Digest) -> bytes:
    return aged.catalog.manifests.get("app", manifest)[1]


def test_without_a_policy_untagged_manifests_stay(tmp_path: Path) -> None:
    aged = AgedCatalog(tmp_path / "root", POLICY._replace(untagged_seconds=0))
    aged.push_blob("app", CONFIG)
    manifest = aged.push_image("app", "")
    aged.grow_older(1000 * HOUR)
    assert aged.collect() == Report()
    assert aged.has("app", manifest)
    aged.catalog.manifests.delete("app", manifest)
    assert aged.collect().blobs == 1, "its parts are old"
    aged.close()


def test_what_is_fresh_stays_for_the_time_of_grace(aged: AgedCatalog) -> None:
    digest = aged.push_blob("app", b"layer")
    aged.grow_older(10 * HOUR)
    assert aged.collect() == Report()
    aged.grow_older(HOUR)
    assert aged.collect().links == 1
    assert not aged.has_blob("app", digest)


@pytest.mark.parametrize("answer", ["head", "mount", "upload"])
def test_who_is_told_that_it_is_there_can_rely_on_it(aged: AgedCatalog, answer: str) -> None:
    digest = aged.push_blob("app", b"layer")
    aged.push_blob("app", CONFIG)
    aged.grow_older(10 * HOUR)
    for one in (digest, Digest.of(CONFIG)):
        if answer == "head":
            aged.catalog.blobs.size("app", one)
        elif answer == "mount":
            assert aged.catalog.blobs.mount("app", "other", one)
    if answer == "upload":
        aged.push_blob("app", b"layer")
        aged.push_blob("app", CONFIG)
    aged.grow_older(10 * HOUR)
    aged.collect()
    aged.push_image("other" if answer == "mount" else "app", "1", b"layer")
    aged.grow_older(1000 * HOUR)
    aged.collect()
    assert aged.read_blob("other" if answer == "mount" else "app", digest) == b"layer"


def test_a_manifest_that_was_asked_for_by_its_digest_stays_for_an_index(aged: AgedCatalog) -> None:
    aged.push_blob("app", CONFIG)
    child = aged.push_image("app", "")
    aged.grow_older(30 * HOUR)
    aged.catalog.manifests.find("app", child)
    aged.collect()
    aged.push_index("app", "all", child)
    aged.grow_older(1000 * HOUR)
    aged.collect()
    assert aged.has("app", child) and aged.has_blob("app", Digest.of(CONFIG))
    aged.catalog.tags.delete("app", "all")
    assert aged.collect().manifests == 2, "the index, and then what only it kept"


def test_a_repository_loses_what_another_one_keeps(aged: AgedCatalog) -> None:
    for repository in ("a", "b"):
        for data in (CONFIG, b"shared"):
            aged.push_blob(repository, data)
    manifest = aged.push_image("a", "1", b"shared")
    aged.push_image("b", "1", b"shared")
    aged.catalog.manifests.delete("b", manifest)
    aged.grow_older(1000 * HOUR)
    assert aged.foresee() == Report(links=2)
    assert aged.collect() == Report(links=2)
    with pytest.raises(BlobUnknown):
        aged.catalog.blobs.size("b", Digest.of(b"shared"))
    assert aged.read_blob("a", Digest.of(b"shared")) == b"shared"


def test_referrers_go_with_their_subject_unless_a_tag_keeps_them(tmp_path: Path) -> None:
    aged = AgedCatalog(tmp_path / "root", POLICY._replace(untagged_seconds=0))
    for data in (CONFIG, b"layer", b"signature", b"bill"):
        aged.push_blob("app", data)
    subject = aged.push_image("app", "1", b"layer")
    signature = aged.push_image("app", "", b"signature", subject=subject)
    of_signature = aged.push_image("app", "", b"bill", subject=signature)
    tagged = aged.push_image("app", "kept", b"bill", b"layer", subject=subject)
    never_here = aged.push_image("app", "", b"signature", subject="sha256:" + "0" * 64)
    aged.grow_older(1000 * HOUR)
    assert aged.collect() == Report()
    aged.catalog.manifests.delete("app", subject)
    aged.grow_older(10 * HOUR)
    assert aged.collect().manifests == 0, "it may come back"
    aged.grow_older(HOUR)
    assert aged.collect().manifests == 1
    assert not aged.has("app", signature) and aged.has("app", of_signature)
    aged.grow_older(11 * HOUR)
    assert aged.collect().manifests == 1
    assert not aged.has("app", of_signature)
    assert aged.has("app", tagged), "a tag keeps it"
    assert aged.has("app", never_here), "its subject may be anywhere"
    aged.close()


def test_a_subject_that_comes_back_has_its_referrers(aged: AgedCatalog) -> None:
    for data in (CONFIG, b"signature"):
        aged.push_blob("app", data)
    subject = aged.push_image("app", "1")
    signature = aged.push_image("app", "", b"signature", subject=subject)
    aged.catalog.manifests.delete("app", subject)
    aged.grow_older(5 * HOUR)
    aged.push_image("app", "1")
    aged.grow_older(1000 * HOUR)
    aged.collect()
    assert [row.digest for row in aged.catalog.manifests.referrers("app", subject)[0]] == [signature]


def test_stale_uploads_and_strays_go(aged: AgedCatalog) -> None:
    upload = aged.catalog.uploads.begin("app")
    received = aged.catalog.uploads.receive("app", upload)
    received.write([b"begun"])
    received.commit()
    (aged.root / "uploads" / ("f" * 32)).write_bytes(b"killed")
    stray = aged.root / "blobs" / "sha256" / "00" / ("0" * 64 + ".aaaa")
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"lost")
    aged.push_blob("app", b"known")
    aged.grow_older(30 * HOUR)
    assert aged.foresee().uploads == 0
    report = aged.collect(strays=False)
    assert (report.uploads, report.strays) == (0, 0)
    assert aged.collect().strays == 2
    assert not stray.exists() and sorted(os.listdir(aged.root / "uploads")) == [upload]
    aged.grow_older(HOUR)
    assert aged.foresee().uploads == 1
    assert aged.collect().uploads == 1
    assert os.listdir(aged.root / "uploads") == []
    with pytest.raises(Exception, match="unknown"):
        aged.catalog.uploads.receive("app", upload)


def test_bytes_that_have_just_come_are_no_strays_however_short_the_grace(tmp_path: Path) -> None:
    aged = AgedCatalog(tmp_path / "root", Policy(grace_seconds=0))
    fresh = aged.root / "blobs" / "sha256" / "00" / ("0" * 64 + ".aaaa")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_bytes(b"its row comes in a moment")
    assert aged.collect().strays == 0
    assert fresh.exists()
    aged.close()


def test_an_upload_finished_long_after_its_last_byte_is_no_stray(aged: AgedCatalog) -> None:
    """Between the renaming of its file and its row."""
    upload = aged.catalog.uploads.begin("app")
    received = aged.catalog.uploads.receive("app", upload)
    received.write([b"slow"])
    received.commit()
    aged.grow_older(25 * HOUR)
    writer = aged.store.append(upload, [], 4)
    location = writer.finish(Digest.of(b"slow"))
    writer.close()
    assert aged.collect().strays == 0
    assert aged.store.size(location) == 4


def test_what_goes_and_comes_again_at_once_is_there(aged: AgedCatalog) -> None:
    """Its bytes are thrown away at the old place after they came to a new one."""
    digest = aged.push_blob("app", b"again")
    aged.grow_older(11 * HOUR)
    assert aged.collect().blobs == 1
    aged.push_blob("app", b"again")
    aged.push_blob("app", CONFIG)
    aged.push_image("app", "1", b"again")
    aged.grow_older(1000 * HOUR)
    aged.collect()
    assert aged.read_blob("app", digest) == b"again"
    assert len(list(aged.root.glob("blobs/*/*/*"))) == 2


def test_a_push_that_comes_too_late_is_refused_and_not_lost(aged: AgedCatalog) -> None:
    aged.push_blob("app", b"layer")
    aged.push_blob("app", CONFIG)
    aged.grow_older(11 * HOUR)
    aged.collect()
    with pytest.raises(ManifestBlobUnknown):
        aged.push_image("app", "1", b"layer")
    with pytest.raises(BlobUnknown):
        aged.catalog.blobs.size("app", Digest.of(b"layer"))
    with pytest.raises(ManifestUnknown):
        aged.catalog.manifests.find("app", "1")


def test_one_at_a_time_and_not_more_often_than_asked(aged: AgedCatalog) -> None:
    turn = Turn(aged.database, COLLECTING)
    assert turn.take()
    collector = Collector(aged.database, aged.store, POLICY)
    assert collector.run() is None
    aged.grow_older(HOUR)  # whoever had it has died
    assert collector.run() is not None
    assert collector.run(every_seconds=2 * HOUR) is None
    aged.grow_older(3 * HOUR)
    assert collector.run(every_seconds=2 * HOUR) is not None
    with without_collector(aged.database) as hold:
        hold()
        assert collector.run() is None
    assert collector.run() is not None


def test_a_run_that_is_stopped_can_be_repeated(aged: AgedCatalog) -> None:
    digests = [aged.push_blob("app", b"%d" % number) for number in range(10)]
    aged.grow_older(11 * HOUR)
    first = aged.collect(stop=lambda: not all(aged.has_blob("app", digest) for digest in digests))
    assert (first.links, first.blobs) == (3, 0), "one batch"
    second = aged.collect()
    assert (second.links, second.blobs) == (7, 10)


def test_a_download_under_way_comes_to_its_end(aged: AgedCatalog) -> None:
    data = os.urandom(3 << 20)
    digest = aged.push_blob("app", data)
    blob = aged.catalog.blobs.open("app", digest)
    pieces = blob.read(0, len(data))
    first = next(pieces)
    for _ in range(3):
        aged.grow_older(11 * HOUR)
        aged.collect()
    assert aged.files() == set()
    assert first + b"".join(pieces) == data
    blob.close()


def test_many_rows_go_in_short_transactions(aged: AgedCatalog) -> None:
    for number in range(50):
        aged.push_blob("app", b"%d" % number)
    aged.grow_older(11 * HOUR)
    done = threading.Event()
    pushed = 0

    def push() -> None:
        nonlocal pushed
        while not done.is_set():
            aged.push_blob("other", b"fresh")
            pushed += 1

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        assert aged.collect().links == 50
    finally:
        done.set()
        pusher.join()
    assert pushed > 3, "others write between two batches"
    assert aged.has_blob("other", Digest.of(b"fresh"))
