"""``ports.Snapshots``: what every driver promises, on the real kernel.

Each scenario runs in a child process, which has its own mounts.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cais.engine import Settings
from cais.engine.stores import Stores
from cais.errors import CaisError, NotFound
from cais.host.mounts import realise, unmount
from cais.host.namespaces import enter
from cais.ports import Layer
from cais.snapshot.store import Prepared, SnapshotStore
from cais.spec.digest import Digest

pytestmark = pytest.mark.root
DRIVERS = ("overlay", "overlay-user", "copies")
TIME = 1_600_000_000
Action = Callable[[Path], object]
InChild = Callable[[Callable[[], object]], str]


class Store:
    """One store by one driver, in the process that made it."""

    def __init__(self, directory: Path, driver: str) -> None:
        enter()
        self.stores = Stores(Settings(str(directory / driver), driver=driver))
        self.snapshots: SnapshotStore = self.stores.snapshots
        self.point = directory / f"{driver}-mounted"
        self.point.mkdir(exist_ok=True)

    def layer(self, parent: Digest | None, action: Action, epoch: int | None = None) -> Layer:
        prepared = self.snapshots.prepare(parent)
        self.change(prepared, action)
        return self.snapshots.commit(prepared, epoch=epoch)

    def change(self, prepared: Prepared, action: Action) -> None:
        realise(prepared.mounts, str(self.point))
        try:
            action(self.point)
            self.quiet(self.point)
        finally:
            unmount(str(self.point))

    def quiet(self, root: Path) -> None:
        """All times alike, so that layers can be compared."""
        for parent, directories, files in os.walk(root, topdown=False):
            for name in (*directories, *files):
                path = os.path.join(parent, name)
                if os.lstat(path).st_mtime != TIME:
                    os.utime(path, (TIME, TIME), follow_symlinks=False)
        os.utime(root, (TIME, TIME))

    def look(self, chain: Digest, action: Action) -> object:
        realise(self.snapshots.view(chain), str(self.point))
        try:
            return action(self.point)
        finally:
            unmount(str(self.point))


@pytest.fixture(params=DRIVERS)
def within(request: pytest.FixtureRequest, tmp_path: Path, in_child: InChild) -> Iterator[Callable[..., str]]:
    """Runs a scenario that takes a Store."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    def run(scenario: Callable[[Store], object]) -> str:
        return in_child(lambda: scenario(Store(tmp_path, request.param)))

    yield run


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def write(root: Path, files: Sequence[str]) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_changes_become_a_layer(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        layer = store.layer(None, lambda root: write(root, ["a", "d/b"]))
        assert layer.chain_id == layer.diff_id and layer.size_bytes % 512 == 0 and layer.size_bytes > 0
        assert store.look(layer.chain_id, names) == ["a", "d", "d/b"]

    within(scenario)


def test_a_chain_is_its_parents_and_its_changes(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        low = store.layer(None, lambda root: write(root, ["a"]))
        top = store.layer(low.chain_id, lambda root: write(root, ["b"]))
        assert top.chain_id == Digest.of(f"{low.chain_id} {top.diff_id}".encode())
        assert store.look(top.chain_id, names) == ["a", "b"]
        assert store.look(low.chain_id, names) == ["a"]

    within(scenario)


def test_nobody_sees_what_is_not_committed(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        low = store.layer(None, lambda root: write(root, ["a"]))
        one, other = store.snapshots.prepare(low.chain_id), store.snapshots.prepare(low.chain_id)
        assert one.id != other.id
        store.change(one, lambda root: write(root, ["one"]))
        store.change(other, lambda root: (write(root, ["other"]), names(root)))
        assert store.look(low.chain_id, names) == ["a"]
        committed = store.snapshots.commit(other)
        assert store.look(committed.chain_id, names) == ["a", "other"]
        store.snapshots.remove(one.id)
        with pytest.raises(CaisError):
            store.snapshots.reopen(one.id, low.chain_id)

    within(scenario)


def test_no_changes_are_a_layer(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        low = store.layer(None, lambda root: write(root, ["a"]))
        same = store.layer(low.chain_id, lambda root: None)
        assert same.chain_id != low.chain_id
        assert store.look(same.chain_id, names) == ["a"]

    within(scenario)


def test_the_same_changes_are_the_same_layer(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        one = store.layer(None, lambda root: write(root, ["a", "d/b"]))
        again = store.layer(None, lambda root: write(root, ["d/b", "a"]))
        assert (one.chain_id, one.diff_id, one.size_bytes) == (again.chain_id, again.diff_id, again.size_bytes)

    within(scenario)


def test_what_is_taken_away_is_gone(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        low = store.layer(None, lambda root: write(root, ["gone", "d/gone", "d/stays", "tree/x/y"]))

        def action(root: Path) -> None:
            (root / "gone").unlink()
            (root / "d/gone").unlink()
            shutil.rmtree(root / "tree")

        top = store.layer(low.chain_id, action)
        assert store.look(top.chain_id, names) == ["d", "d/stays"]
        back = store.layer(top.chain_id, lambda root: write(root, ["gone", "tree/z"]))
        assert store.look(back.chain_id, names) == ["d", "d/stays", "gone", "tree", "tree/z"]

    within(scenario)


def test_one_kind_in_the_place_of_another(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        low = store.layer(None, lambda root: write(root, ["file", "directory/x", "again/x"]))

        def action(root: Path) -> None:
            (root / "file").unlink()
            write(root, ["file/inside"])
            shutil.rmtree(root / "directory")
            (root / "directory").symlink_to("file")
            shutil.rmtree(root / "again")
            (root / "again").mkdir()

        top = store.layer(low.chain_id, action)
        assert store.look(top.chain_id, names) == ["again", "directory", "file", "file/inside"]
        assert store.look(top.chain_id, lambda root: os.readlink(root / "directory")) == "file"

    within(scenario)


def test_attributes_and_links_are_kept(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        def action(root: Path) -> None:
            write(root, ["a", "d/x"])
            os.link(root / "a", root / "hard")
            os.chown(root / "a", 12, 34)
            (root / "a").chmod(0o6750)
            (root / "d").chmod(0o1777)
            os.mkfifo(root / "fifo", 0o600)
            os.setxattr(root / "a", "user.note", b"\0kept\xff")
            (root / "link").symlink_to("no where")
            (root / "with\nline").touch()
            os.close(os.open(os.fsencode(root) + b"/\xff\xfe", os.O_CREAT, 0o644))

        def check(root: Path) -> None:
            status = (root / "a").stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o6750)
            assert status.st_mtime == TIME
            assert os.path.samefile(root / "a", root / "hard")
            assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1777
            assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
            assert os.getxattr(root / "a", "user.note") == b"\0kept\xff"
            assert os.readlink(root / "link") == "no where"
            assert {b"with\nline", b"\xff\xfe"} <= set(os.listdir(os.fsencode(root)))

        store.look(store.layer(None, action).chain_id, check)

    within(scenario)


def test_a_change_of_attributes_alone(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        low = store.layer(None, lambda root: write(root, ["d/a", "d/b"]))
        top = store.layer(low.chain_id, lambda root: ((root / "d/a").chmod(0o600), os.chown(root / "d", 1, 2)))

        def check(root: Path) -> None:
            assert stat.S_IMODE((root / "d/a").stat().st_mode) == 0o600
            assert (root / "d/a").read_text() == "d/a"
            assert (root / "d").stat().st_gid == 2
            assert names(root) == ["d", "d/a", "d/b"]

        store.look(top.chain_id, check)

    within(scenario)


def test_an_epoch_is_the_newest_time(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        layer = store.layer(None, lambda root: write(root, ["a"]), epoch=TIME - 5)
        assert store.look(layer.chain_id, lambda root: (root / "a").stat().st_mtime) == TIME - 5

    within(scenario)


def test_a_missing_parent_is_not_found(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        missing = Digest.of(b"nothing")
        with pytest.raises(NotFound):
            store.snapshots.prepare(missing)
        with pytest.raises(NotFound):
            store.snapshots.view(missing)
        assert not store.snapshots.exists(missing)

    within(scenario)


def test_another_process_sees_what_is_committed(within: Callable[..., str]) -> None:
    chain = within(lambda store: store.layer(None, lambda root: write(root, ["a"])).chain_id)
    assert within(lambda store: store.look(Digest.parse(chain), names)) == "['a']"


def test_deep_chains(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        chain = None
        for number in range(60):
            chain = store.layer(chain, lambda root, number=number: write(root, [f"f{number:02}"])).chain_id
        assert chain is not None
        assert store.look(chain, names) == [f"f{number:02}" for number in range(60)]

    within(scenario)


def test_every_driver_makes_the_same_layers(tmp_path: Path, in_child: InChild) -> None:
    """But for a directory that was removed and made again: overlay knows that it was; copies see what is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    def change(root: Path) -> None:
        (root / "gone").unlink()
        shutil.rmtree(root / "tree")
        write(root, ["other/new", "d/added"])
        (root / "kept").chmod(0o600)
        os.setxattr(root / "kept", "user.x", b"y")

    def layers(driver: str) -> Callable[[], object]:
        def scenario() -> object:
            store = Store(tmp_path, driver)
            low = store.layer(None, lambda root: write(root, ["gone", "kept", "tree/old", "d/same"]))
            top = store.layer(low.chain_id, change)
            return [(layer.chain_id, layer.diff_id, layer.size_bytes) for layer in (low, top)]

        return scenario

    assert len({in_child(layers(driver)) for driver in DRIVERS}) == 1


def test_a_layer_made_on_nothing_stands_on_any_parent(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        linked = store.layer(None, lambda root: write(root, ["d/new", "d/both", "alone"]))
        for number in range(2):
            files = ["d/old", "d/both", f"base{number}"]
            base = store.layer(None, lambda root, files=files: write(root, files))
            chain = store.snapshots.stand(base.chain_id, linked.diff_id)
            assert chain == store.snapshots.stand(base.chain_id, linked.diff_id)  # again is the same
            assert chain == Digest.of(f"{base.chain_id} {linked.diff_id}".encode())
            assert store.snapshots.layer(chain)[:4] == (chain, linked.diff_id, linked.size_bytes, base.chain_id)
            seen = store.look(chain, names)
            assert seen == sorted(["alone", f"base{number}", "d", "d/both", "d/new", "d/old"])
            above = store.layer(chain, lambda root: (root / "d/new").unlink())
            assert store.look(above.chain_id, names) == sorted(["alone", f"base{number}", "d", "d/both", "d/old"])
        assert b"".join(store.snapshots.pack(linked.chain_id))
        found = store.snapshots.find(linked.diff_id)
        assert found is not None and found.chain_id == linked.chain_id

    within(scenario)


def test_one_layer_several_times_in_a_chain(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        linked = store.layer(None, lambda root: write(root, ["d/f"]))
        chain = store.snapshots.stand(linked.chain_id, linked.diff_id)
        above = store.layer(chain, lambda root: (root / "d/f").unlink())
        assert store.look(above.chain_id, names) == ["d"]
        again = store.snapshots.stand(above.chain_id, linked.diff_id)
        assert store.look(again, names) == ["d", "d/f"]
        assert store.look(store.layer(again, lambda root: write(root, ["g"])).chain_id, names) == ["d", "d/f", "g"]

    within(scenario)


def test_shared_files_stay_until_the_last_is_gone(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        def id_of(chain: Digest) -> str:
            return str(store.stores.database.row("SELECT id FROM snapshots WHERE chain_id = ?", (chain,))[0])

        linked = store.layer(None, lambda root: write(root, ["d/f"]))
        base = store.layer(None, lambda root: write(root, ["base"]))
        chain = store.snapshots.stand(base.chain_id, linked.diff_id)
        store.snapshots.remove(id_of(linked.chain_id))
        assert store.look(chain, names) == ["base", "d", "d/f"]
        if store.snapshots.driver.opaque:
            other = store.layer(None, lambda root: write(root, ["other"]))
            on_other = store.snapshots.stand(other.chain_id, linked.diff_id)
            store.snapshots.remove(id_of(chain))
            assert store.look(on_other, names) == ["d", "d/f", "other"]
            store.snapshots.remove(id_of(on_other))
        else:
            store.snapshots.remove(id_of(chain))
        rows = store.stores.database.rows("SELECT coalesce(files, id) FROM snapshots")
        assert sorted(os.listdir(store.snapshots.directory)) == sorted(row[0] for row in rows)

    within(scenario)


def test_the_collector_knows_shared_files(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        from cais.engine.collect import collect

        linked = store.layer(None, lambda root: write(root, ["d/f"]))
        base = store.layer(None, lambda root: write(root, ["base"]))
        chain = store.snapshots.stand(base.chain_id, linked.diff_id)
        store.stores.leases.release()
        store.snapshots.hold(chain)
        collected = collect(store.stores)
        assert [chain for chain, _ in collected.layers] == [linked.chain_id]
        # Nothing was freed where the files are those of the one that is kept.
        assert collected.size_bytes == (0 if store.snapshots.driver.opaque else linked.size_bytes)
        assert store.look(chain, names) == ["base", "d", "d/f"]
        store.stores.leases.release()
        collected = collect(store.stores)
        assert collected.size_bytes == linked.size_bytes + base.size_bytes
        assert os.listdir(store.snapshots.directory) == []

    within(scenario)


def test_a_layer_that_is_not_there_stands_on_nothing(within: Callable[..., str]) -> None:
    def scenario(store: Store) -> None:
        base = store.layer(None, lambda root: write(root, ["base"]))
        for parent, diff_id in ((base.chain_id, Digest.of(b"no layer")), (Digest.of(b"no chain"), base.diff_id)):
            with pytest.raises(NotFound):
                store.snapshots.stand(parent, diff_id)

    within(scenario)
