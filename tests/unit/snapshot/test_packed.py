"""Layers whose files stay in a blob until something needs them, over each driver."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading

import pytest

from cais.engine import Settings
from cais.engine.collect import collect
from cais.engine.stores import Stores
from cais.errors import Corrupt, NotFound
from cais.image.layers import keep_packed
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest

pytestmark = pytest.mark.root

PLAIN = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture(params=["overlay", "copies"])
def stores(request, tmp_path):
    stores = Stores(Settings(str(tmp_path / "root"), driver=request.param))
    yield stores
    stores.close()


def tar(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def keep(stores: Stores, data: bytes, parent: Digest | None = None, kind: str = "zstd") -> Digest:
    """The chain of a layer that is here as a blob, compressed, and nothing else."""
    from cais.host.compression import compressed

    packed = b"".join(compressed(iter((data,)), kind))
    blob = Descriptor(PLAIN + ("" if kind == "none" else f"+{kind}"), stores.content.add(packed), len(packed))
    return keep_packed(stores.images, parent, blob, Digest.of(data))


def directories(stores: Stores) -> list[str]:
    return sorted(os.listdir(stores.snapshots.directory)) if os.path.isdir(stores.snapshots.directory) else []


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
def test_it_is_there_and_has_no_files(stores, kind):
    data = tar(one="1")
    chain = keep(stores, data, kind=kind)
    assert stores.snapshots.exists(chain) and stores.snapshots.hold(chain)
    assert stores.snapshots.layer(chain).size_bytes == len(data)
    assert b"".join(stores.snapshots.pack(chain)) == data
    assert stores.snapshots.find(Digest.of(data)).chain_id == chain
    assert stores.snapshots.changes_directory(chain) == ""
    assert directories(stores) == []


def test_who_needs_files_gets_them(stores):
    below = keep(stores, tar(one="1", two="2"))
    above = keep(stores, tar(two="22", three="3"), below)
    found = stores.snapshots.directories(above)
    assert len(found) == len(directories(stores)) == 2
    with open(os.path.join(found[0], "fs", "two")) as file:
        assert file.read() == "22"
    assert stores.snapshots.packed(below) is None and stores.snapshots.packed(above) is None
    assert stores.snapshots.directories(above) == found
    again = keep(stores, tar(two="22", three="3"), below)
    assert again == above and stores.snapshots.packed(above) is None, "what is unpacked stays so"


def test_what_is_made_on_it_stands_on_its_files(stores):
    chain = keep(stores, tar(one="1"))
    prepared = stores.snapshots.prepare(chain)
    assert stores.snapshots.packed(chain) is None and len(directories(stores)) == 2
    stores.snapshots.discard(prepared)


def test_a_linked_layer_stands_on_anything(stores):
    below, linked = keep(stores, tar(one="1")), tar(two="2")
    keep(stores, linked)
    chain = stores.snapshots.stand(below, Digest.of(linked))
    names = {name for path in stores.snapshots.directories(chain) for name in os.listdir(os.path.join(path, "fs"))}
    assert names == {"one", "two"}


def test_several_at_once_leave_one_directory(stores):
    chain = keep(stores, tar(**{f"file{number}": "x" * 100 for number in range(200)}))
    others = [Stores(stores.settings) for _ in range(3)]
    barrier = threading.Barrier(4)
    found, errors = [], []

    def ask(each: Stores) -> None:
        try:
            barrier.wait(30)
            found.append(each.snapshots.directories(chain))
        except BaseException as error:
            errors.append(error)
        finally:
            each.database.close()

    threads = [threading.Thread(target=ask, args=(each,)) for each in (stores, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert errors == [] and all(item == found[0] for item in found)
        assert directories(stores) == [os.path.basename(found[0][0])]
    finally:
        for each in others:
            each.close()


def test_other_bytes_are_found_out_before_and_after(stores):
    data = tar(one="1")
    blob = Descriptor(PLAIN, stores.content.add(b"no tar at all" * 100), 1300)
    with pytest.raises(Corrupt):
        keep_packed(stores.images, None, blob._replace(media_type=PLAIN + "+gzip"), Digest.of(data))
    chain = keep(stores, data)
    path = stores.content.path(stores.snapshots.packed(chain))
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"damaged!")
    with pytest.raises(Corrupt, match=r"."):
        stores.snapshots.directories(chain)
    assert directories(stores) == [], "nothing is left of a layer that could not be unpacked"
    os.unlink(path)
    with pytest.raises(NotFound):
        stores.snapshots.directories(chain)


def test_a_parent_that_is_not_there(stores):
    with pytest.raises(NotFound):
        keep(stores, tar(one="1"), Digest("sha256:" + "0" * 64))


def test_the_blob_stays_with_the_chain_and_goes_with_it(stores):
    chain = keep(stores, tar(one="1"))
    blob = stores.snapshots.packed(chain)
    settings = stores.settings
    assert collect(stores).blobs == (), "this process holds it"
    stores.close()
    again = Stores(settings)
    try:
        again.snapshots.hold(chain)
        assert again.snapshots.packed(chain) == blob
        assert collect(again).blobs == ()
        again.leases.release()
        gone = collect(again)
        assert [item[0] for item in gone.blobs] == [blob] and gone.layers == ((chain, 0),)
        assert not again.snapshots.exists(chain) and not os.path.exists(again.content.path(blob))
        assert hashlib.sha256(tar(one="1")).hexdigest() == chain[7:]
    finally:
        again.close()
