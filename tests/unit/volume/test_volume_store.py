"""Volumes: records, directories, the first filling."""

from __future__ import annotations

import os

import pytest

from cais.errors import CaisError, Conflict, Invalid, NotFound
from cais.host.database import Database
from cais.volume.filling import fill
from cais.volume.store import SCHEMA, VolumeStore


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
        store.remove("data", ["abc"])
    store.remove("data")
    assert not os.path.exists(path) and os.listdir(store.directory) == []
    with pytest.raises(NotFound, match="no such volume"):
        store.remove("data")


@pytest.mark.parametrize("name", ["a", "-a", "a/b", "a b", "ä" * 3, "x" * 300])
def test_bad_names(store, name):
    with pytest.raises(Invalid, match="create"):
        store.create(name)


def test_what_is_not_in_this_version(store):
    with pytest.raises(NotFound, match="plugin"):
        store.create("data", driver="nfs")
    with pytest.raises(CaisError, match="volume option"):
        store.create("data", options={"type": "nfs"})


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
