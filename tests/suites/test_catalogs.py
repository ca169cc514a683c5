"""What a registry promises on each pair of stores, with several replicas at once: uploads, tags, blobs, mounts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import stored_catalogs
from cais.errors import CaisError, Invalid
from cais.spec.digest import Digest

pytest.importorskip("sqlalchemy")
pytest.importorskip("obstore")

from cais.catalog.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestUnknown,
    NotKnown,
    RangeInvalid,
    SizeInvalid,
    UploadBusy,
    UploadUnknown,
)

if TYPE_CHECKING:
    from cais.catalog.catalog import Catalog

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MIB = 1 << 20


@pytest.fixture(params=[stored_catalogs.embedded, stored_catalogs.replicated])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> stored_catalogs.Pair:
    made: stored_catalogs.Pair = request.param(request, tmp_path)
    return made


@pytest.fixture
def replica(pair: stored_catalogs.Pair) -> Iterator[Callable[[], Catalog]]:
    """Another replica on the same stores."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(pair.catalog())


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What each returns, or the error of Cais that it raises; they begin together."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return action()
        except CaisError as error:
            return error

    with ThreadPoolExecutor(len(actions)) as threads:
        return [future.result() for future in [threads.submit(run, action) for action in actions]]


def append(catalog: Catalog, repository: str, upload: str, content: bytes, start: int | None = None) -> None:
    receiving = catalog.uploads.receive(repository, upload, start)
    try:
        receiving.write([content])
        receiving.commit()
    finally:
        receiving.close()


def finish(catalog: Catalog, repository: str, upload: str, digest: Digest, content: bytes = b"") -> None:
    receiving = catalog.uploads.receive(repository, upload)
    try:
        if content:
            receiving.write([content])
        receiving.finish(digest)
    finally:
        receiving.close()


def push(catalog: Catalog, repository: str, content: bytes) -> Digest:
    digest = Digest.of(content)
    finish(catalog, repository, catalog.uploads.begin(repository), digest, content)
    return digest


def push_whole(catalog: Catalog, repository: str, content: bytes) -> Digest:
    digest = Digest.of(content)
    receiving = catalog.uploads.receive_whole(repository, digest.algorithm)
    try:
        receiving.write([content])
        receiving.finish(digest)
    finally:
        receiving.close()
    return digest


def pull(catalog: Catalog, repository: str, digest: Digest) -> bytes:
    blob = catalog.blobs.open(repository, digest)
    try:
        return b"".join(blob.read(0, blob.size_bytes))
    finally:
        blob.close()


def manifest(catalog: Catalog, repository: str, name: str) -> bytes:
    config = name.encode()
    digest = push(catalog, repository, config)
    row = {"mediaType": "application/octet-stream", "digest": str(digest), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": row, "layers": []}).encode()


def put(catalog: Catalog, repository: str, content: bytes, tag: str = "") -> Digest:
    return catalog.manifests.put(repository, content, OCI_MANIFEST, tagged=[tag] if tag else []).digest


def stored_count(catalog: Catalog) -> int:
    """How many blobs and uploads have bytes in the store, whether or not a row knows of them."""
    store = catalog.uploads._store
    return len(list(store.stored())) + len(list(store.unfinished()))


def uploads_of(catalog: Catalog) -> set[str]:
    from cais.records import known

    with catalog._database.reading() as connection:
        return set(known.uploads(connection, 1000))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_replicas_that_start_at_once_make_the_schema_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each in a process of its own, as they are."""
    url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else request.getfixturevalue("postgres").database()
    program = f"from cais.records.database import Database; d = Database({url!r}); d.upgrade(); d.answers()"
    source = str(Path(__file__).parents[2] / "src")
    running = [
        subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": source}, stderr=-1)
        for _ in range(3)
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 3


def test_an_upload_goes_on_at_another_replica_and_ends_at_a_third(replica: Callable[[], Catalog]) -> None:
    one, two, three = replica(), replica(), replica()
    pieces = [os.urandom(MIB + 1), os.urandom(10), os.urandom(3 * MIB), os.urandom(7)]
    content = b"".join(pieces)
    upload = one.uploads.begin("team/app")
    start = 0
    for catalog, piece in zip((one, two, three, one), pieces, strict=True):
        assert catalog.uploads.offset("team/app", upload) == start
        append(catalog, "team/app", upload, piece, start)
        start += len(piece)
    with pytest.raises(BlobUnknown):
        one.blobs.open("team/app", Digest.of(content))
    finish(two, "team/app", upload, Digest.of(content))
    assert pull(three, "team/app", Digest.of(content)) == content
    with pytest.raises(UploadUnknown):
        one.uploads.offset("team/app", upload)
    assert stored_count(one) == 1


def test_uploads_that_are_begun_beforehand_are_everybodys_and_go_when_nobody_asks(pair: stored_catalogs.Pair) -> None:
    from cais.catalog.beforehand import Beforehand

    now = 0.0
    with pair.catalog() as other:
        with pair.catalog() as catalog:
            catalog.uploads._beforehand = Beforehand(lambda: now)
            given = []
            for _ in range(5):
                now += 0.01
                given.append(catalog.uploads.begin("app"))
            while (begun := catalog.uploads.begun("app", "sha512")) is not None:
                given.append(begun)
            assert len(set(given)) == len(given) > 5
            for number, upload in enumerate(given):
                content = b"%d" % number
                finish(other, "app", upload, Digest.of(content), content)
            for _ in range(3):
                now += 0.01
                given.append(catalog.uploads.begin("app"))
            assert uploads_of(other) > set(given[-3:])
            now += 60
            assert catalog.uploads.has_begun
            catalog.uploads.forget_begun()
            assert not catalog.uploads.has_begun and catalog.uploads.begun("app") is None
            assert uploads_of(other) == set(given[-3:])
            for _ in range(2):
                now += 0.01
                given.append(catalog.uploads.begin("app"))
            assert len(uploads_of(other)) == 6
        assert uploads_of(other) == set(given[-5:]), "who ends keeps nothing"


def test_bytes_that_are_not_the_next_are_refused(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    upload = one.uploads.begin("app")
    append(one, "app", upload, b"abc", 0)
    for start in (0, 2, 4):
        with pytest.raises(RangeInvalid):
            append(two, "app", upload, b"def", start)
    append(two, "app", upload, b"def", 3)
    finish(one, "app", upload, Digest.of(b"abcdef"))


def test_a_wrong_digest_leaves_the_upload_as_it_was(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    upload = one.uploads.begin("app")
    append(one, "app", upload, b"abc")
    for catalog in (one, two):
        with pytest.raises(DigestInvalid):
            finish(catalog, "app", upload, Digest.of(b"another"), b"def")
        assert catalog.uploads.offset("app", upload) == 3
    finish(two, "app", upload, Digest.of(b"abcghi"), b"ghi")
    assert pull(one, "app", Digest.of(b"abcghi")) == b"abcghi"
    assert stored_count(one) == 1
    with pytest.raises(DigestInvalid):
        receiving = one.uploads.receive_whole("app", "sha256")
        try:
            receiving.write([b"x"])
            receiving.finish(Digest.of(b"y"))
        finally:
            receiving.close()
    assert stored_count(one) == 1


def test_of_two_writers_of_one_upload_one_is_told_that_it_lost(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    for _ in range(5):
        upload = one.uploads.begin("app")
        append(one, "app", upload, b"start-")
        contents = [os.urandom(100_000), os.urandom(100_001)]
        results = at_once(
            partial(append, one, "app", upload, contents[0], 6), partial(append, two, "app", upload, contents[1], 6)
        )
        won = [number for number, result in enumerate(results) if result is None]
        lost = [result for result in results if result is not None]
        assert len(won) == 1 and isinstance(lost[0], (UploadBusy, RangeInvalid)), results
        content = b"start-" + contents[won[0]]
        assert one.uploads.offset("app", upload) == len(content)
        finish(two, "app", upload, Digest.of(content))
        assert pull(one, "app", Digest.of(content)) == content


def test_who_looked_before_another_wrote_does_not_write_over_it(replica: Callable[[], Catalog]) -> None:
    from cais.catalog.uploads import Receiving

    one, two = replica(), replica()
    upload = one.uploads.begin("app")
    append(one, "app", upload, b"abc")
    looked = two.uploads._find("app", upload)
    append(one, "app", upload, b"def")
    with pytest.raises(UploadBusy):
        Receiving(two.uploads, "app", looked, "", noted=True)
    finish(two, "app", upload, Digest.of(b"abcdef"))
    assert pull(one, "app", Digest.of(b"abcdef")) == b"abcdef"


def test_of_two_that_finish_one_upload_with_other_bytes_one_wins(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    for _ in range(5):
        upload = one.uploads.begin("app")
        append(one, "app", upload, b"start-")
        contents = [b"start-" + os.urandom(100_000), b"start-" + os.urandom(100_000)]
        results = at_once(
            *(
                partial(finish, catalog, "app", upload, Digest.of(content), content[6:])
                for catalog, content in zip((one, two), contents, strict=True)
            )
        )
        assert results.count(None) == 1, results
        assert all(isinstance(result, (UploadBusy, UploadUnknown, type(None))) for result in results), results
        won = contents[results.index(None)]
        assert pull(one, "app", Digest.of(won)) == won


def test_two_that_finish_one_upload_alike_lose_nothing(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    for number in range(5):
        content = os.urandom(1000)
        upload = one.uploads.begin("app")
        append(one, "app", upload, content)
        results = at_once(*(partial(finish, catalog, "app", upload, Digest.of(content)) for catalog in (one, two)))
        assert None in results, results
        assert all(isinstance(result, (UploadBusy, UploadUnknown, type(None))) for result in results), results
        assert pull(one, "app", Digest.of(content)) == content
        assert stored_count(one) == number + 1


def test_a_writer_against_one_that_finishes(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    for _ in range(8):
        content = b"start-" + os.urandom(100_000)
        upload = one.uploads.begin("app")
        append(one, "app", upload, b"start-")
        results = at_once(
            partial(finish, one, "app", upload, Digest.of(content), content[6:]),
            partial(append, two, "app", upload, os.urandom(100_000), 6),
        )
        assert results.count(None) == 1, results
        if results[0] is None:
            assert pull(two, "app", Digest.of(content)) == content
        else:
            assert one.uploads.offset("app", upload) == 100_006


def test_one_blob_pushed_by_many_at_once_is_stored_once(replica: Callable[[], Catalog]) -> None:
    catalogs = [replica() for _ in range(3)]
    content = os.urandom(2 * MIB)
    results = at_once(
        *(
            partial(way, catalog, f"team{number % 2}/app", content)
            for number, catalog in enumerate(catalogs)
            for way in (push, push_whole)
        )
    )
    assert set(results) == {Digest.of(content)}
    for repository in ("team0/app", "team1/app"):
        assert pull(catalogs[0], repository, Digest.of(content)) == content
    assert stored_count(catalogs[0]) == 1


def test_two_pushes_of_one_tag_leave_one_of_both(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    documents = [manifest(one, "app", name) for name in ("first", "second")]
    for _ in range(8):
        results = at_once(
            partial(put, one, "app", documents[0], "latest"), partial(put, two, "app", documents[1], "latest")
        )
        assert results == [Digest.of(document) for document in documents]
        assert one.manifests.get("app", "latest")[1] in documents
        assert two.tags.page("app", "", 10) == (["latest"], False)
        for document in documents:
            assert two.manifests.get("app", str(Digest.of(document)))[1] == document


def test_pushes_against_deletions_never_leave_a_tag_without_its_manifest(replica: Callable[[], Catalog]) -> None:
    catalogs = [replica(), replica(), replica()]
    documents = [manifest(catalogs[0], "app", name) for name in ("one", "two")]
    failures: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        catalog = catalogs[seed % 3]
        for _ in range(12):
            document, tag = chance.choice(documents), chance.choice(("a", "b"))
            try:
                match chance.randrange(4):
                    case 0:
                        catalog.manifests.delete("app", Digest.of(document))
                    case 1:
                        catalog.tags.delete("app", tag)
                    case _:
                        put(catalog, "app", document, tag)
            except ManifestUnknown:
                pass
            except Exception as error:
                failures.append(repr(error))

    at_once(*(partial(work, seed) for seed in range(6)))
    assert not failures
    for tag in catalogs[1].tags.page("app", "", 10)[0]:
        assert catalogs[2].manifests.get("app", tag)[1] in documents
    for document in documents:
        put(catalogs[0], "app", document, "after")
        assert catalogs[1].manifests.get("app", "after")[1] == document


def test_a_mount_against_a_deletion_gives_the_blob_or_says_no(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    for number in range(5):
        content = os.urandom(100)
        digest = push(one, "from", content)
        target = f"to/{number}"
        mounted, deleted = at_once(
            partial(two.blobs.mount, "from", target, digest), partial(one.blobs.delete, "from", digest)
        )
        assert deleted is None
        if mounted is True:
            assert pull(one, target, digest) == content
        else:
            assert mounted is False
            with pytest.raises(BlobUnknown):
                one.blobs.open(target, digest)


def test_a_manifest_is_refused_where_a_blob_has_just_gone(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    for number in range(5):
        document = manifest(one, "app", f"config {number}")
        config = Digest(json.loads(document)["config"]["digest"])
        pushed, _ = at_once(partial(put, one, "app", document), partial(two.blobs.delete, "app", config))
        if isinstance(pushed, Digest):
            continue  # the push was first: that a blob is deleted from below a manifest is the deleter's wish
        assert isinstance(pushed, ManifestBlobUnknown)


def test_texts_that_a_database_cannot_hold_are_the_mistake_of_who_asks(replica: Callable[[], Catalog]) -> None:
    catalog = replica()
    put(catalog, "app", manifest(catalog, "app", "config"), "1")
    for ask in (
        partial(catalog.tags.page, "app", "\0", 10),
        partial(catalog.manifests.referrers, "app", Digest("sha256:" + "0" * 64), "\0", "\0"),
        partial(catalog.access.identify, "Basic " + base64.b64encode(b"a\0b:c").decode()),
    ):
        with suppress(Invalid, NotKnown):  # SQLite holds them
            ask()


def test_each_algorithm_is_verified_when_another_replica_ends(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    content = os.urandom(MIB + 5)
    upload = one.uploads.begin("app")
    append(one, "app", upload, content)
    digest = Digest(f"sha512:{hashlib.sha512(content).hexdigest()}")
    finish(two, "app", upload, digest)
    assert pull(one, "app", digest) == content


def test_chunks_that_are_small_are_bounded_where_each_is_an_object(
    replica: Callable[[], Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cais.catalog.uploads._FREE_PARTS", 3)
    catalog = replica()
    least = catalog.uploads.least_chunk_bytes
    assert least == (0 if catalog.is_near else MIB)
    small, large = catalog.uploads.begin("app"), catalog.uploads.begin("app")
    for _ in range(3):
        append(catalog, "app", small, b"x")
    if least:
        with pytest.raises(SizeInvalid, match=str(least)):
            append(catalog, "app", small, b"x")
    else:
        append(catalog, "app", small, b"x")
    for _ in range(5):
        append(catalog, "app", large, b"x" * (MIB + 1))  # each of two parts
    assert catalog.uploads.offset("app", large) == 5 * (MIB + 1)


def test_a_cancelled_upload_leaves_nothing(replica: Callable[[], Catalog]) -> None:
    one, two = replica(), replica()
    upload = one.uploads.begin("app")
    append(one, "app", upload, b"x" * (2 * MIB))
    two.uploads.cancel("app", upload)
    with pytest.raises(UploadUnknown):
        append(one, "app", upload, b"y")
    assert stored_count(one) == 0


def test_bytes_of_which_nobody_knows_are_found(replica: Callable[[], Catalog]) -> None:
    """What replicas that died have left: parts of no upload, an upload that was finished and noted nowhere."""
    from cais.catalog.strays import find_strays

    one, two = replica(), replica()
    push(one, "app", b"x" * (2 * MIB))
    append(one, "app", one.uploads.begin("app"), b"under way")
    store = two.uploads._store
    for upload in ("0" * 32, "1" * 32):
        writer = store.append(upload, [], 0)
        writer.write([b"y" * (MIB + 1)])
        if upload[0] == "0":
            writer.commit()
        else:
            writer.finish(Digest.of(b"y" * (MIB + 1)))
        writer.close()
    strays = list(find_strays(one._database, one.uploads._store, time.time() + 100))
    assert len(strays) == 2
    assert list(find_strays(one._database, one.uploads._store, time.time() - 100)) == []
    for stray in strays:
        stray.remove(two.uploads._store)
    assert stored_count(one) == 2
    assert pull(two, "app", Digest.of(b"x" * (2 * MIB))) == b"x" * (2 * MIB)


def test_what_is_pushed_while_others_collect_is_whole(pair: stored_catalogs.Pair) -> None:
    """With no time of grace at all: a push may be told that something is gone, and then it is; never the reverse."""
    from cais.catalog.gc import Collector
    from cais.catalog.settings import Policy

    policy = Policy(grace_seconds=0.0, untagged_seconds=0.001, batch=3)
    contents = [f"shared {number}".encode() for number in range(4)]
    end = time.monotonic() + 2
    refused: list[CaisError] = []

    def work(seed: int) -> list[tuple[str, str, list[Digest]]]:
        chance = random.Random(seed)
        pushed = []
        with pair.catalog() as catalog:
            while time.monotonic() < end:
                repository, tag = f"team/{chance.randrange(2)}", f"t{seed}-{len(pushed)}"
                wanted = chance.sample(contents, 2)
                digests = [Digest.of(content) for content in wanted]
                rows = []
                for content, digest in zip(wanted, digests, strict=True):
                    if not catalog.blobs.mount(f"team/{chance.randrange(2)}", repository, digest):
                        push_whole(catalog, repository, content)
                    rows.append({"mediaType": "application/octet-stream", "digest": str(digest), "size": len(content)})
                document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": rows[0], "layers": rows[1:]}
                try:
                    put(catalog, repository, json.dumps(document).encode(), tag)
                except ManifestBlobUnknown as error:
                    refused.append(error)
                    continue
                for content, digest in zip(wanted, digests, strict=True):
                    assert pull(catalog, repository, digest) == content
                if chance.random() < 0.7:
                    catalog.tags.delete(repository, tag)
                else:
                    pushed.append((repository, tag, digests))
        return pushed

    def collect() -> None:
        with pair.catalog() as catalog:
            while time.monotonic() < end:
                Collector(catalog._database, catalog.uploads._store, policy).run(strays=False)

    *results, _ = at_once(*(partial(work, seed) for seed in range(3)), collect)
    kept = [push for result in results for push in result]
    assert kept
    with pair.catalog() as catalog:
        Collector(catalog._database, catalog.uploads._store, policy).run()
        for repository, tag, digests in kept:
            assert catalog.manifests.find(repository, tag)
            for digest in digests:
                assert pull(catalog, repository, digest) in contents
