"""PostgreSQL that goes away: in the middle of a transaction, before the answer to a COMMIT, for a while."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import faulty_tcp
import stored_catalogs
from cais.errors import Unavailable
from cais.spec.digest import Digest

pytest.importorskip("sqlalchemy")
pytest.importorskip("obstore")

if TYPE_CHECKING:
    from cais.catalog.catalog import Catalog

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> stored_catalogs.Pair:
    """PostgreSQL, and files: no other fault than the database's."""
    from cais.blobs.files import FileBlobs

    url = request.getfixturevalue("postgres").with_schema()
    return stored_catalogs.Pair(url, lambda: FileBlobs(str(tmp_path)))


@pytest.fixture
def proxy(postgres: Any) -> Iterator[faulty_tcp.FaultyTcp]:
    with faulty_tcp.losing(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def catalog(pair: stored_catalogs.Pair, proxy: faulty_tcp.FaultyTcp, postgres: Any) -> Iterator[Catalog]:
    """One whose connections to the database go through the proxy."""
    with pair.catalog(pair.database_url.replace(f":{postgres.port}/", f":{proxy.port}/")) as catalog:
        yield catalog


def push(catalog: Catalog, content: bytes, lose: Callable[[], None]) -> Digest:
    upload = catalog.uploads.begin("app")
    first, rest = content[:1000], content[1000:]
    lose()
    receiving = catalog.uploads.receive("app", upload, 0)
    receiving.write([first])
    receiving.commit()
    receiving.close()
    lose()
    receiving = catalog.uploads.receive("app", upload, len(first))
    receiving.write([rest])
    receiving.finish(Digest.of(content))
    receiving.close()
    return Digest.of(content)


def push_whole(catalog: Catalog, content: bytes, lose: Callable[[], None]) -> Digest:
    receiving = catalog.uploads.receive_whole("app", "sha256")
    receiving.write([content])
    lose()
    receiving.finish(Digest.of(content))
    receiving.close()
    return Digest.of(content)


def pull(catalog: Catalog, digest: Digest, repository: str = "app") -> bytes:
    blob = catalog.blobs.open(repository, digest)
    try:
        return b"".join(blob.read(0, blob.size_bytes))
    finally:
        blob.close()


def test_a_commit_whose_answer_is_lost_is_not_done_twice_nor_undone(
    catalog: Catalog, proxy: faulty_tcp.FaultyTcp
) -> None:
    lose = partial(proxy.lose, b"COMMIT")
    lose()
    catalog.uploads.begin("first")
    for way in (push, push_whole):
        content = os.urandom(5000)
        assert pull(catalog, way(catalog, content, lose)) == content
        # Once more: the bytes that come second are not needed, and the first ones stay.
        assert pull(catalog, way(catalog, content, lose)) == content
        lose()
        assert catalog.blobs.mount("app", "other", Digest.of(content))
        assert pull(catalog, Digest.of(content), "other") == content
        row = {"mediaType": "application/octet-stream", "digest": str(Digest.of(content)), "size": len(content)}
        document = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": row, "layers": []}).encode()
        lose()
        stored = catalog.manifests.put("app", document, OCI_MANIFEST, tagged=[way.__name__])
        assert catalog.manifests.get("app", way.__name__)[0].digest == stored.digest
    assert proxy.lost == 11
    assert sorted(catalog.tags.page("app", "", 10)[0]) == ["push", "push_whole"]
    store = catalog.uploads._store
    assert (len(list(store.stored())), len(list(store.unfinished()))) == (2, 0)


def test_a_session_that_is_ended_in_the_middle_of_a_transaction_is_begun_again(catalog: Catalog, postgres: Any) -> None:
    ended = []

    def action(connection: Any) -> str:
        from sqlalchemy import text

        if not ended:
            own = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            ended.append(postgres.query(f"SELECT pg_terminate_backend({own})"))
        return str(connection.execute(text("SELECT 'done'")).scalar())

    assert catalog._database.write(action) == "done"
    assert ended == ["t"]


def test_without_a_database_requests_fail_at_once_and_go_on_with_it(postgres: Any) -> None:
    import postgres_server
    from cais.records.database import Database

    server = postgres_server.PostgresServer()
    try:
        database = Database(server.database(), connections=2)
        database.upgrade()
        for kindly in (True, False):
            server.stop(kindly=kindly)
            for ask in (database.answers, database.upgrade):
                with pytest.raises(Unavailable, match="cannot be used"):
                    ask()
            server.start()
            database.answers()
            database.upgrade()
        # All connections are taken: who waits too long is told so, and not that something is broken.
        database.close()
        hasty = Database(server.url("test1"), connections=1, wait_seconds=0.2)
        taken = threading.Barrier(3)
        done = threading.Event()

        def hold(_: Any) -> None:
            taken.wait(10)
            done.wait(10)

        holders = [threading.Thread(target=hasty.write, args=(hold,)) for _ in range(2)]
        for holder in holders:
            holder.start()
        taken.wait(10)
        with pytest.raises(Unavailable, match="connections"):
            hasty.answers()
        done.set()
        for holder in holders:
            holder.join()
        hasty.answers()
        hasty.close()
    finally:
        server.close()
