"""SnapshotStore over each driver, on the real kernel."""

from __future__ import annotations

import os
import stat

import pytest

from cais.engine import Settings
from cais.engine.stores import Stores
from cais.errors import Conflict, Corrupt, NotFound
from cais.host.mounts import realise, unmount
from cais.host.namespaces import enter
from cais.snapshot.store import Prepared
from cais.spec.digest import Digest

pytestmark = pytest.mark.root


@pytest.fixture(params=["overlay", "copies"])
def stores(request, tmp_path):
    stores = Stores(Settings(str(tmp_path / "root"), driver=request.param))
    yield stores
    stores.close()


def change(stores: Stores, prepared: Prepared, action) -> None:
    """Mounts the snapshot and changes it, in a child process that has its own mounts."""
    stores.database.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            enter()
            target = os.path.join(stores.root, "mnt")
            os.makedirs(target, exist_ok=True)
            realise(prepared.mounts, target)
            action(target)
            unmount(target)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def looked_at(stores: Stores, chain: Digest) -> dict[str, str]:
    """The files of a chain, as its view shows them."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            enter()
            target = os.path.join(stores.root, "mnt")
            os.makedirs(target, exist_ok=True)
            stores.database.close()
            realise(stores.snapshots.view(chain), target)
            for directory, _, files in os.walk(target):
                for name in files:
                    path = os.path.join(directory, name)
                    with open(path) as file:
                        os.write(write, f"{os.path.relpath(path, target)}={file.read()}\n".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with open(read) as said:
        return dict(line.rstrip("\n").split("=") for line in said)


def write(path: str, text: str, mtime: int = 1_000_000_000) -> None:
    with open(path, "w") as file:
        file.write(text)
    os.utime(path, (mtime, mtime))


def two_layers(stores: Stores):
    first = stores.snapshots.prepare(None)

    def below(root: str) -> None:
        os.mkdir(f"{root}/dir")
        write(f"{root}/kept", "kept")
        write(f"{root}/gone", "gone")
        write(f"{root}/dir/hidden", "hidden")
        os.utime(f"{root}/dir", (1, 1))

    change(stores, first, below)
    one = stores.snapshots.commit(first)
    second = stores.snapshots.prepare(one.chain_id)

    def above(root: str) -> None:
        os.unlink(f"{root}/gone")
        os.unlink(f"{root}/dir/hidden")
        os.rmdir(f"{root}/dir")
        os.mkdir(f"{root}/dir")
        write(f"{root}/dir/new", "new")
        os.utime(f"{root}/dir", (2, 2))

    change(stores, second, above)
    return one, stores.snapshots.commit(second)


def test_layers_stack_with_deletions_and_replaced_directories(stores):
    one, two = two_layers(stores)
    assert two.parent == one.chain_id and stores.snapshots.layer(two.chain_id).diff_id == two.diff_id
    assert looked_at(stores, one.chain_id) == {"kept": "kept", "gone": "gone", "dir/hidden": "hidden"}
    assert looked_at(stores, two.chain_id) == {"kept": "kept", "dir/new": "new"}


def test_the_same_changes_are_the_same_layer_and_its_tar_can_be_made_again(stores, tmp_path):
    _, two = two_layers(stores)
    other = Stores(Settings(str(tmp_path / "other"), driver=stores.settings.driver))
    _, again = two_layers(other)
    assert again.diff_id == two.diff_id
    packed = b"".join(stores.snapshots.pack(two.chain_id))
    assert Digest.of(packed) == two.diff_id and len(packed) == two.size_bytes
    other.close()


def test_both_drivers_give_the_same_layer_where_nothing_is_deleted(tmp_path):
    """A replaced directory may be said in two ways: as opaque, or by its deletions."""
    layers = []
    for driver in ("overlay", "copies"):
        stores = Stores(Settings(str(tmp_path / driver), driver=driver))
        layers.append(two_layers(stores)[0])
        stores.close()
    assert layers[0] == layers[1]


def test_a_committed_layer_that_is_there_already_is_not_kept_twice(stores):
    layers = []
    for _ in range(2):
        prepared = stores.snapshots.prepare(None)
        change(stores, prepared, lambda root: write(f"{root}/same", "same"))
        layers.append(stores.snapshots.commit(prepared))
    assert layers[0].chain_id == layers[1].chain_id
    assert len(os.listdir(stores.snapshots.directory)) == 1


def test_a_layer_is_unpacked_from_its_tar_and_verified(stores, tmp_path):
    one, two = two_layers(stores)
    tars = [b"".join(stores.snapshots.pack(layer.chain_id)) for layer in (one, two)]
    other = Stores(Settings(str(tmp_path / "other"), driver=stores.settings.driver))
    first = other.snapshots.unpack(None, one.diff_id, iter([tars[0]]))
    with pytest.raises(Corrupt, match="digest"):
        other.snapshots.unpack(first.chain_id, one.diff_id, iter([tars[1]]))
    assert len(os.listdir(other.snapshots.directory)) == 1
    second = other.snapshots.unpack(first.chain_id, two.diff_id, iter([tars[1]]))
    assert second.chain_id == two.chain_id
    assert looked_at(other, second.chain_id) == {"kept": "kept", "dir/new": "new"}
    assert b"".join(other.snapshots.pack(second.chain_id)) == tars[1]
    other.close()


def test_an_epoch_is_the_latest_time_of_anything(stores):
    prepared = stores.snapshots.prepare(None)

    def files(root: str) -> None:
        write(f"{root}/new", "new", 2_000_000_000)
        write(f"{root}/old", "old", 1)

    change(stores, prepared, files)
    layer = stores.snapshots.commit(prepared, epoch=1_500_000_000)
    assert layer.newest == 1_500_000_000
    directory = stores.snapshots.directories(layer.chain_id)[0]
    assert os.stat(f"{directory}/fs/new").st_mtime == 1_500_000_000
    assert os.stat(f"{directory}/fs/old").st_mtime == 1


def test_the_roots_mode_and_owner_go_up(stores):
    prepared = stores.snapshots.prepare(None)
    fs = os.path.join(prepared.directory, "fs")
    write(f"{fs}/x", "x")
    os.chmod(fs, 0o711)
    os.chown(fs, 5, 6)
    layer = stores.snapshots.commit(prepared)
    upper = stores.snapshots.prepare(layer.chain_id)
    status = os.stat(os.path.join(upper.directory, "fs"))
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o711, 5, 6)


def test_discarded_and_unknown_snapshots(stores):
    prepared = stores.snapshots.prepare(None)
    stores.snapshots.discard(prepared)
    assert os.listdir(stores.snapshots.directory) == []
    nowhere = Digest.of(b"nowhere")
    assert not stores.snapshots.exists(nowhere) and not stores.snapshots.hold(nowhere)
    for action in (stores.snapshots.view, stores.snapshots.layer, stores.snapshots.prepare, stores.snapshots.pack):
        with pytest.raises(NotFound):
            action(nowhere)


def test_another_driver_than_the_roots_own_is_refused(stores):
    assert stores.snapshots.driver.name == stores.settings.driver
    other = {"overlay": "copies", "copies": "overlay"}[stores.settings.driver]
    with pytest.raises(Conflict, match="driver"):
        _ = Stores(Settings(stores.root, driver=other)).snapshots.driver


def test_the_driver_is_found_by_trying(tmp_path):
    stores = Stores(Settings(str(tmp_path / "root")))
    assert stores.snapshots.driver.name == "overlay"
    assert os.listdir(stores.snapshots.directory) == []


def test_the_driver_is_found_also_by_a_process_that_mounts_already(tmp_path, in_child):
    def find() -> str:
        enter()
        return Stores(Settings(str(tmp_path / "root"))).snapshots.driver.name

    assert in_child(find) == "overlay"
