"""Trees copied with all that they are, on the real file system."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from cais.host.copying import copy_data, copy_tree

root_only = pytest.mark.root


def described(root) -> dict[str, tuple]:
    """Everything about a tree but inode numbers and change times."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = ""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if not key.startswith("security.selinux")
            }
            found[os.path.relpath(path, root)] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                status.st_rdev,
                content,
                attributes,
                status.st_nlink if not stat.S_ISDIR(status.st_mode) else 0,
            )
    return found


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    (root / "directory" / "below").mkdir(parents=True)
    (root / "directory" / "file").write_bytes(os.urandom(3 << 20))
    (root / "empty").touch()
    (root / "link").symlink_to("directory/file")
    (root / "dangling").symlink_to("/nowhere")
    os.link(root / "directory" / "file", root / "directory" / "below" / "same")
    os.link(root / "link", root / "link-again", follow_symlinks=False)
    os.mkfifo(root / "fifo")
    os.link(root / "fifo", root / "fifo-again")
    for number, path in enumerate([root / "empty", root / "directory" / "below", root / "directory", root]):
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    return root


def test_contents_links_and_times(source, tmp_path):
    (tmp_path / "target").mkdir()
    copy_tree(str(source), str(tmp_path / "target"))
    assert described(tmp_path / "target") == described(source)
    assert os.path.samefile(tmp_path / "target/directory/file", tmp_path / "target/directory/below/same")


@root_only
def test_owners_modes_devices_and_attributes(source, tmp_path):
    os.chown(source / "empty", 1000, 1001)
    os.chown(source / "link", 7, 8, follow_symlinks=False)
    os.chmod(source / "empty", 0o4711)
    os.chmod(source / "directory", 0o1777)
    os.mknod(source / "null", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
    os.setxattr(source / "empty", "user.note", b"x\0y")
    subprocess.run(["setcap", "cap_net_raw+ep", str(source / "directory" / "file")], check=True)
    (tmp_path / "target").mkdir()
    copy_tree(str(source), str(tmp_path / "target"))
    assert described(tmp_path / "target") == described(source)
    assert "security.capability" in os.listxattr(tmp_path / "target/directory/file")


def test_sockets_are_left_out_with_their_links(tmp_path):
    import socket

    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    target.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
    os.link(source / "socket", source / "socket-again")
    (source / "file").touch()
    copy_tree(str(source), str(target))
    assert os.listdir(target) == ["file"]


@root_only
def test_an_ordinary_user_leaves_devices_out_with_their_links(ordinary_user, in_child):
    source, target = ordinary_user.directory / "s", ordinary_user.directory / "t"
    for path in (source, target):
        path.mkdir()
        os.chown(path, ordinary_user.user_id, ordinary_user.group_id)
    os.mknod(source / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.link(source / "null", source / "null-again")
    (source / "file").write_text("root's")

    def as_user() -> list[str]:
        ordinary_user.become()
        copy_tree(str(source), str(target))
        return os.listdir(target)

    assert in_child(as_user) == "['file']"
    assert (target / "file").stat().st_uid == ordinary_user.user_id


class TestReplace:
    def test_without_it_what_is_there_is_an_error(self, source, tmp_path):
        target = tmp_path / "target"
        target.mkdir()
        (target / "empty").write_text("mine")
        with pytest.raises(FileExistsError):
            copy_tree(str(source), str(target))
        assert (target / "empty").read_text() == "mine"

    def test_everything_by_everything(self, source, tmp_path):
        target = tmp_path / "target"
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").touch()
        (target / "empty" / "full").mkdir(parents=True)
        (target / "directory").symlink_to(outside)
        (target / "link").mkdir()
        (target / "fifo").write_text("x")
        (target / "own").write_text("stays")
        copy_tree(str(source), str(target), replace=True)
        assert (target / "own").read_text() == "stays"
        (target / "own").unlink()
        os.utime(target, ns=(10**18 + 3, 10**18 + 3))
        assert described(target) == described(source)
        assert os.listdir(outside) == ["kept"]

    def test_a_directory_that_is_there_keeps_what_is_in_it(self, source, tmp_path):
        target = tmp_path / "target"
        (target / "directory").mkdir(parents=True)
        (target / "directory" / "own").touch()
        copy_tree(str(source), str(target), replace=True)
        assert sorted(os.listdir(target / "directory")) == ["below", "file", "own"]


def test_the_root_itself_can_be_left_as_it_is(source, tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o750)
    os.utime(target, (1, 1))
    os.chmod(source, 0o700)
    copy_tree(str(source), str(target), root=False)
    assert target.stat().st_mode & 0o7777 == 0o750
    assert target.stat().st_mtime != source.stat().st_mtime
    assert (target / "directory").stat().st_mtime == (source / "directory").stat().st_mtime


@root_only
def test_without_owners_all_is_this_users_own(source, tmp_path):
    for name in ("empty", "directory", "dangling", "fifo"):
        os.chown(source / name, 1000, 1001, follow_symlinks=False)
    target = tmp_path / "target"
    target.mkdir()
    copy_tree(str(source), str(target), owners=False)
    assert {(status[1], status[2]) for status in described(target).values()} == {(0, 0)}


@root_only
def test_owners_that_the_user_namespace_does_not_have_are_left_out(source, tmp_path, in_child):
    os.chown(source / "empty", 1000, 1001)
    os.chown(source / "dangling", 1000, 1001, follow_symlinks=False)
    target = tmp_path / "target"
    target.mkdir()

    def copy() -> None:
        from cais.host import namespaces, syscalls

        syscalls.unshare(syscalls.CLONE_NEWUSER)
        namespaces._map_single(0, 0)
        copy_tree(str(source), str(target))

    in_child(copy)
    assert (target / "empty").stat().st_uid == 0
    assert os.readlink(target / "dangling") == "/nowhere"


def test_deeper_than_any_path(tmp_path):
    from cais.host.files import remove_tree

    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    target.mkdir()
    descriptor = os.open(source, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("a-rather-long-name", dir_fd=descriptor)
        below = os.open("a-rather-long-name", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("one", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.link("one", "two", src_dir_fd=descriptor, dst_dir_fd=descriptor)
    os.close(descriptor)
    try:
        copy_tree(str(source), str(target))
        found = subprocess.run(["find", str(target), "-links", "2", "-type", "f"], capture_output=True, check=True)
        assert len(found.stdout.splitlines()) == 2
    finally:
        remove_tree(str(source))
        remove_tree(str(target))


def test_no_descriptor_stays_open(source, tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    target = tmp_path / "target"
    target.mkdir()
    copy_tree(str(source), str(target))
    with pytest.raises(FileExistsError):
        copy_tree(str(source), str(target))
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_sparse_file_stays_sparse(tmp_path):
    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    target.mkdir()
    with open(source / "file", "wb") as file:
        file.write(b"start")
        file.seek(64 << 20)
        file.write(b"middle")
        file.truncate(1 << 30)
    copy_tree(str(source), str(target))
    status = (target / "file").stat()
    assert status.st_size == 1 << 30 and status.st_blocks * 512 < 1 << 20
    with open(target / "file", "rb") as file:
        assert file.read(6) == b"start\0"
        file.seek(64 << 20)
        assert file.read(7) == b"middle\0"


def test_data_from_where_both_files_stand(tmp_path):
    (tmp_path / "from").write_bytes(b"0123456789")
    reading = os.open(tmp_path / "from", os.O_RDONLY)
    writing = os.open(tmp_path / "to", os.O_WRONLY | os.O_CREAT)
    try:
        os.lseek(reading, 4, os.SEEK_SET)
        os.write(writing, b"head")
        copy_data(reading, writing)
    finally:
        os.close(reading)
        os.close(writing)
    assert (tmp_path / "to").read_bytes() == b"head456789"


def test_data_that_the_kernel_cannot_copy():
    """/proc says that its files are empty."""
    read, write = os.pipe()
    reading = os.open("/proc/self/status", os.O_RDONLY)
    try:
        copy_data(reading, write)
    finally:
        os.close(reading)
        os.close(write)
    with open(read, "rb") as file:
        assert file.read().startswith(b"Name:")
