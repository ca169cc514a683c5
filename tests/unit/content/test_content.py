from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cais.content.collector import forget_blobs, mark, remove_blob_files
from cais.engine import Settings
from cais.engine.stores import Stores
from cais.errors import Corrupt, NotFound
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.reference import Reference


@pytest.fixture
def stores(tmp_path):
    stores = Stores(Settings(str(tmp_path / "root")))
    yield stores
    stores.close()


def blob(data: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(data), len(data))


def collect(stores: Stores) -> list[str]:
    with stores.database.transaction() as change:
        mark(change, stores.leases, ["SELECT digest FROM tags"], [])
        gone = forget_blobs(change)
    with stores.database.transaction() as change:
        remove_blob_files(change, stores.content, stores.leases)
    return [digest for digest, _ in gone]


def test_what_was_pushed_is_fetched_from_any_offset(stores):
    data = os.urandom(3 << 20)
    stores.content.push(blob(data), iter([data[:7], data[7:]]))
    assert stores.content.exists(blob(data))
    assert b"".join(stores.content.fetch(blob(data))) == data
    assert b"".join(stores.content.fetch(blob(data), 1 << 20)) == data[1 << 20 :]
    with open(stores.content.path(blob(data).digest), "rb") as file:
        assert file.read() == data


@pytest.mark.parametrize(
    "said",
    [
        Descriptor("", Digest.of(b"other"), 4),
        Descriptor("", Digest.of(b"data"), 3),
        Descriptor("", Digest.of(b"data"), 5),
    ],
    ids=["digest", "shorter", "longer"],
)
def test_a_lie_about_size_or_digest_leaves_nothing(stores, said):
    with pytest.raises(Corrupt):
        stores.content.push(said, iter([b"da", b"ta"]))
    assert not stores.content.exists(said)
    assert os.listdir(os.path.join(stores.root, "content", "ingest")) == []


def test_a_blob_damaged_on_disk_is_not_given_out(stores):
    digest = stores.content.add(b"precious")
    path = stores.content.path(digest)
    os.chmod(path, 0o644)
    with open(path, "wb") as file:
        file.write(b"preciouS")
    with pytest.raises(Corrupt, match="damaged"):
        stores.content.read(digest)


def test_sha512_blobs_have_their_own_directory(stores):
    with stores.content.ingest("sha512") as ingest:
        ingest.write(b"x")
        digest = ingest.commit()
    assert digest.algorithm == "sha512" and "/sha512/" in stores.content.path(digest)
    assert stores.content.read(digest) == b"x"


def test_tags_resolve_and_a_digest_in_a_name_must_agree(stores):
    name = Reference.parse("debian:12")
    stores.tags.tag(name, blob(b"one"))
    assert stores.tags.resolve(name).digest == Digest.of(b"one")
    assert [str(reference) for reference, _ in stores.tags.list()] == ["docker.io/library/debian:12"]
    assert stores.tags.resolve(Reference.parse(f"debian@{Digest.of(b'one')}")).digest == Digest.of(b"one")
    with pytest.raises(NotFound, match="No such image: debian:11"):
        stores.tags.resolve(Reference.parse("debian:11"))
    with pytest.raises(NotFound):
        stores.tags.resolve(Reference.parse(f"debian:12@{Digest.of(b'two')}"))
    assert stores.tags.untag(name) and not stores.tags.untag(name)


def test_the_collector_keeps_what_tags_reach_and_what_leases_hold(stores):
    layer, config = stores.content.add(b"layer"), stores.content.add(b"config")
    manifest = stores.content.add(b"manifest", [layer, config])
    stores.tags.tag(Reference.parse("kept"), Descriptor("", manifest, 8))
    held = stores.content.add(b"held by this process")
    assert collect(stores) == []
    stores.leases.release()
    assert collect(stores) == [held]
    stores.tags.untag(Reference.parse("kept"))
    assert sorted(collect(stores)) == sorted([layer, config, manifest])
    assert not os.path.exists(stores.content.path(layer))


def test_the_lease_of_a_killed_process_holds_nothing(stores):
    code = (
        "import os; from cais.engine import Settings; from cais.engine.stores import Stores\n"
        f"stores = Stores(Settings({stores.root!r}))\n"
        "stores.content.add(b'orphan')\n"
        "ingest = stores.content.ingest(); ingest.__enter__(); ingest.write(b'half')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(os.listdir(os.path.join(stores.root, "content", "ingest"))) == 1
    assert collect(stores) == [Digest.of(b"orphan")]
    assert os.listdir(os.path.join(stores.root, "content", "ingest")) == []
    assert stores.database.rows("SELECT * FROM lease_items") == []


def test_the_lease_of_a_living_process_is_respected(stores):
    code = (
        "import sys; from cais.engine import Settings; from cais.engine.stores import Stores\n"
        f"stores = Stores(Settings({stores.root!r}))\n"
        "stores.content.add(b'in work'); print('ready', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    try:
        assert collect(stores) == []
    finally:
        child.communicate(b"")
    assert collect(stores) == [Digest.of(b"in work")]


def test_files_without_a_row_are_removed(stores):
    stores.content.add(b"known")
    stray = stores.content.path(Digest.of(b"stray"))
    with open(stray, "wb") as file:
        file.write(b"stray")
    collect(stores)
    assert not os.path.exists(stray)
    assert stores.content.read(Digest.of(b"known")) == b"known"
