"""Volumes: records, directories, the first filling."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest

from cais.errors import Conflict, Invalid, NotFound
from cais.host import processes
from cais.host.database import Database
from cais.volume import sizes
from cais.volume.filling import fill
from cais.volume.records import SCHEMA
from cais.volume.snapshots import VolumeSnapshots
from cais.volume.store import VolumeStore


@pytest.fixture
def store(tmp_path):
    database = Database(str(tmp_path / "cais.db"), len(SCHEMA), lambda: {"volumes": SCHEMA})
    yield VolumeStore(str(tmp_path), database)
    database.close()


def test_named_volumes_are_found_again(store):
    made = store.create("data", labels={"a": "1"})
    assert store.create("data", labels={"b": "2"}) == made
    assert store.get("data").labels == {"a": "1"}
    assert os.path.isdir(made.path) and not made.anonymous
    anonymous = store.create()
    assert anonymous.anonymous and len(anonymous.name) == 64
    assert [volume.name for volume in store.all()] == sorted(["data", anonymous.name])


def test_removal(store):
    path = store.create("data").path
    with pytest.raises(Conflict, match=r"volume is in use - \[abc\]"):
        store.remove("data", lambda: ["abc"])
    store.remove("data")
    assert not os.path.exists(path) and os.listdir(store.directory) == []
    with pytest.raises(NotFound, match="no such volume"):
        store.remove("data")


def killed_while_it_removes(store: VolumeStore, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process removes a volume, and dies when some of its files are gone."""

    def half(path: str) -> None:
        os.unlink(os.path.join(path, "lock"))
        os.kill(os.getpid(), signal.SIGKILL)

    store.database.close()
    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr("cais.volume.store.remove_tree", half)
            store.remove(name)
        finally:
            os._exit(0)
    assert processes.wait(child) == 137


@pytest.mark.parametrize("next_command", ["create", "remove"])
def test_a_removal_that_was_killed_is_finished_by_the_next_command(store, monkeypatch, next_command):
    store.create("other")
    (Path(store.create("data").path) / "file").write_text("kept")
    killed_while_it_removes(store, "data", monkeypatch)
    assert [volume.name for volume in store.all()] == ["other"] and len(os.listdir(store.directory)) == 2
    if next_command == "create":
        store.create("data")
        assert os.listdir(store.get("data").path) == []
    else:
        store.remove("other")
    assert len(os.listdir(store.directory)) == len(store.all())


def test_what_another_command_makes_or_removes_is_left_alone(store):
    fresh = os.path.join(store.directory, "fresh")
    filled, lock = store.stage("data", lambda path: None)
    os.mkdir(fresh)
    store.create("other")
    assert {"fresh", filled} < set(os.listdir(store.directory))
    os.utime(fresh, (0, 0))  # nobody takes that long to lock it
    with lock:
        store.sweep()
        assert filled in os.listdir(store.directory) and not os.path.exists(fresh)
    store.sweep()
    assert len(os.listdir(store.directory)) == 1


@pytest.mark.parametrize("name", ["a", "-a", "a/b", "a b", "ä" * 3, "x" * 300])
def test_bad_names(store, name):
    with pytest.raises(Invalid, match="create"):
        store.create(name)


def test_another_driver(store):
    with pytest.raises(NotFound, match='plugin "nfs" not found'):
        store.create("data", driver="nfs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": "1"}, 'create data: invalid option: "foo"'),
        ({"type": "nfs"}, 'create data: missing required option: "device"'),
        ({"device": "/x"}, 'create data: missing required option: "type"'),
        ({"o": "bind"}, 'create data: missing required option: "device"'),
        ({"type": "tmpfs", "device": "tmpfs", "uid": "1"}, '"uid" is not for a volume'),
        ({"size": "abc"}, "create data: invalid size: 'abc'"),
        ({"uid": "root"}, "invalid uid: 'root'"),
        ({"gid": "-1"}, "invalid gid: '-1'"),
        ({"mode": "0999"}, "invalid mode: '0999'"),
    ],
)
def test_options_that_cannot_be(store, options, message):
    with pytest.raises(Invalid, match=message):
        store.create("data", options=options)
    assert store.all() == [] and store.orphans() == []


@pytest.mark.root
def test_owner_and_mode_of_a_new_volume_outlive_its_first_use(store, tmp_path):
    volume = store.create("data", options={"uid": "5", "gid": "6", "mode": "1770"})
    (tmp_path / "image" / "d").mkdir(parents=True)
    (tmp_path / "image" / "d" / "file").touch()
    assert fill(volume.path, str(tmp_path / "image"), "/d", volume.options)
    status = os.stat(volume.path)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (5, 6, 0o1770)
    assert os.listdir(volume.path) == ["file"]


def test_rename_and_labels(store):
    volume = store.create()
    with store.database.transaction() as change:
        store.rename(change, volume, "data")
    renamed = store.get("data")
    assert renamed.path == volume.path and not renamed.anonymous and renamed.labels == {}
    store.relabel("data", {"a": "1", "b": "2"})
    store.relabel("data", {"a": "3"}, ["b", "missing"])
    assert store.get("data").labels == {"a": "3"}
    other = store.create("other")
    with pytest.raises(Conflict, match="exists"), store.database.transaction() as change:
        store.rename(change, other, "data")
    with pytest.raises(Invalid), store.database.transaction() as change:
        store.rename(change, other, "../x")


def test_replacing_is_refused_once_somebody_uses_it(store):
    """Also where the use begins while the new files are made."""
    old = store.create("data")
    users: list[str] = []
    with pytest.raises(Conflict, match=r"restore data: volume is in use - \[abc\]"):
        store.replace("data", lambda path: users.append("abc"), doing="restore", users=lambda: users)
    assert store.get("data") == old and store.orphans() == []


def test_a_volume_that_a_container_starts_with_is_not_replaced(store):
    volume = store.use(store.create("data").name)
    done = threading.Event()

    def replace() -> None:
        with contextlib.suppress(Conflict):
            store.replace("data", lambda path: None)
        done.set()

    thread = threading.Thread(target=replace)
    thread.start()
    thread.join()
    assert store.get("data").path == volume.path
    store.let_go()
    store.replace("data", lambda path: None)
    assert store.get("data").path != volume.path


def test_snapshots(store):
    snapshots = VolumeSnapshots(store)
    store.create("data")
    taken = snapshots.take("data", "one", lambda path: Path(path, "file").write_text("1"))
    assert Path(taken.path, "file").read_text() == "1" and store.orphans() == []
    with pytest.raises(Conflict, match="there is a snapshot one"):
        snapshots.take("data", "one", lambda path: None)
    with pytest.raises(NotFound, match="no such volume"):
        snapshots.take("missing", "one", lambda path: None)
    with pytest.raises(Invalid):
        snapshots.take("data", "../x", lambda path: None)
    with pytest.raises(Conflict, match="has snapshots"):
        store.remove("data")
    assert [item.name for item in snapshots.all()] == ["one"]
    assert len(snapshots.take("data", "", lambda path: None).name) == len("20260101-000000")
    for item in snapshots.all():
        snapshots.remove("data", item.name)
    with pytest.raises(NotFound, match="data@one: no such snapshot"):
        snapshots.remove("data", "one")
    store.remove("data")
    assert os.listdir(store.directory) == []


def test_a_size_is_remembered_until_the_next_use(store, monkeypatch):
    volume = store.create("data")
    Path(volume.path, "below").mkdir()
    walks = []
    measure = sizes.tree_size_bytes
    monkeypatch.setattr(sizes, "tree_size_bytes", lambda path: walks.append(path) or measure(path))
    small = sizes.size_of(store, volume, running=False)
    assert sizes.size_of(store, volume, running=False) == small and len(walks) == 1
    Path(volume.path, "below", "file").write_bytes(b"x" * 100_000)
    store.use("data")
    store.let_go()
    large = sizes.size_of(store, volume, running=False)
    assert large >= small + 100_000 and len(walks) == 2
    for _ in range(2):
        sizes.size_of(store, volume, running=True)  # somebody writes: nothing is remembered
    assert len(walks) == 4
    Path(volume.path, "file").touch()  # the topmost directory tells
    sizes.size_of(store, volume, running=False)
    assert len(walks) == 5
    elsewhere = store.create("tm", options={"type": "tmpfs", "device": "tmpfs"})
    assert sizes.size_of(store, elsewhere, running=False) == sizes.UNKNOWN


def test_orphans_are_directories_without_a_record(store):
    store.create("data")
    left = os.path.join(store.directory, "left")
    os.mkdir(left)
    assert store.orphans() == []  # it may be about to be filled
    os.utime(left, (1, 1))
    assert store.orphans() == [left]


@pytest.fixture
def image(tmp_path):
    root = tmp_path / "root"
    directory = root / "srv" / "data"
    (directory / "deep" / "er").mkdir(parents=True)
    (directory / "file").write_bytes(b"x" * 100_000)
    os.link(directory / "file", directory / "deep" / "same")
    (directory / "link").symlink_to("/etc/passwd")
    (directory / "set").write_text("")
    os.chmod(directory / "set", 0o4755)
    os.mkfifo(directory / "fifo")
    os.setxattr(directory / "file", "user.mine", b"1")
    os.utime(directory / "deep" / "er", ns=(10**18, 10**18))
    os.chmod(directory, 0o2770)
    (root / "alias").symlink_to("/srv/data")
    (root / "escape").symlink_to("../../outside")
    return root


def test_an_empty_volume_is_filled_with_all_that_files_have(image, tmp_path):
    data = tmp_path / "volume"
    data.mkdir()
    assert fill(str(data), str(image), "/alias") is True
    assert (data / "file").read_bytes() == b"x" * 100_000
    assert (data / "file").stat().st_ino == (data / "deep" / "same").stat().st_ino
    assert os.readlink(data / "link") == "/etc/passwd"
    assert (data / "set").stat().st_mode & 0o7777 == 0o4755
    assert os.getxattr(data / "file", "user.mine") == b"1"
    assert (data / "deep" / "er").stat().st_mtime_ns == 10**18
    assert data.stat().st_mode & 0o7777 == 0o2770
    assert (data / "fifo").is_fifo()
    assert fill(str(data), str(image), "/alias") is False


@pytest.mark.root
def test_owners_come_too(image, tmp_path):
    os.chown(image / "srv" / "data", 33, 34)
    os.chown(image / "srv" / "data" / "link", 35, 36, follow_symlinks=False)
    data = tmp_path / "volume"
    data.mkdir()
    fill(str(data), str(image), "/srv/data")
    assert (data.stat().st_uid, data.stat().st_gid) == (33, 34)
    assert (data / "link").lstat().st_uid == 35


@pytest.mark.parametrize("target", ["/none", "/srv/data/file", "/escape", "/srv/data/link"])
def test_nothing_there_fills_nothing(image, tmp_path, target):
    data = tmp_path / "volume"
    data.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("")
    assert fill(str(data), str(image), target) is False
    assert os.listdir(data) == []


def test_a_filling_that_was_killed_while_it_moved_is_gone_on_with(store, tmp_path):
    """What came into the volume meanwhile stays."""
    volume = store.create("data")
    image = tmp_path / "image" / "d"
    image.mkdir(parents=True)
    filled = Path(volume.path).parent / "filled"
    filled.mkdir(0o750)
    for name in ("one", "two"):
        (filled / name).write_text("of the image")
    Path(volume.path, "two").write_text("mine")
    assert fill(volume.path, str(tmp_path / "image"), "/d")
    assert {path.name: path.read_text() for path in Path(volume.path).iterdir()} == {
        "one": "of the image",
        "two": "mine",
    }
    assert not filled.exists() and Path(volume.path).stat().st_mode & 0o777 == 0o750
    assert not fill(volume.path, str(tmp_path / "image"), "/d")


def test_a_filling_that_was_killed_while_it_copied_is_begun_anew(store, tmp_path):
    volume = store.create("data")
    image = tmp_path / "image" / "d"
    image.mkdir(parents=True)
    (image / "file").write_text("whole")
    copying = Path(volume.path).parent / "filling"
    copying.mkdir()
    (copying / "file").write_text("ha")
    assert fill(volume.path, str(tmp_path / "image"), "/d")
    assert Path(volume.path, "file").read_text() == "whole" and not copying.exists()


def test_of_several_first_uses_at_once_one_fills(store, tmp_path):
    volume = store.create("data")
    image = tmp_path / "image" / "d"
    image.mkdir(parents=True)
    for number in range(50):
        (image / str(number)).write_text("x")
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(fill(volume.path, str(tmp_path / "image"), "/d")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 1 and len(os.listdir(volume.path)) == 50
