"""Files written whole or not at all; trees removed whatever their modes and depth; sizes on disk."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import threading
from pathlib import Path

import pytest

from cais.host.files import cleaned, make_top, random_name, remove_tree, tree_size_bytes, write_all, write_atomically


def deep(path: Path, depth: int) -> None:
    """``depth`` directories in each other, with a file in each; far longer than any path may be."""
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a-rather-long-name", dir_fd=descriptor)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        below = os.open("a-rather-long-name", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


@pytest.fixture
def few_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_random_names_differ():
    names = {random_name(4) for _ in range(100)}
    assert len(names) == 100 and all(len(name) == 8 for name in names)


def test_write_all_writes_what_a_pipe_takes_in_parts():
    read, write = os.pipe()
    os.set_blocking(read, True)
    data = os.urandom(1 << 20)
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            write_all(write, data)
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        assert file.read() == data
    os.waitpid(child, 0)


class TestAtomicWrite:
    def test_replaces(self, tmp_path):
        path = tmp_path / "file"
        write_atomically(str(path), b"one")
        write_atomically(str(path), b"two", 0o644)
        assert path.read_bytes() == b"two"
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.listdir(tmp_path) == ["file"]

    def test_a_failure_keeps_the_old_and_leaves_nothing(self, tmp_path):
        path = tmp_path / "directory"
        path.mkdir()
        (path / "inside").touch()
        with pytest.raises(OSError) as error:
            write_atomically(str(path), b"data")
        assert error.value.errno == errno.EISDIR
        assert os.listdir(tmp_path) == ["directory"]


class TestRemoveTree:
    def test_what_is_not_there(self, tmp_path):
        remove_tree(str(tmp_path / "none"))

    def test_a_file_and_a_dangling_link(self, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("file", "link"):
            remove_tree(str(tmp_path / name))
        assert os.listdir(tmp_path) == []

    def test_links_are_not_followed(self, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").touch()
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "link").symlink_to(outside)
        (tmp_path / "to-tree").symlink_to(tree)
        remove_tree(str(tmp_path / "to-tree"))
        assert (tree / "link").is_symlink()
        remove_tree(str(tree))
        assert sorted(os.listdir(tmp_path)) == ["outside"] and (outside / "kept").exists()

    def test_a_trailing_slash(self, tmp_path):
        (tmp_path / "tree" / "below").mkdir(parents=True)
        remove_tree(f"{tmp_path}/tree/")
        assert os.listdir(tmp_path) == []

    def test_a_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "tree" / "below").mkdir(parents=True)
        remove_tree("tree")
        assert os.listdir(tmp_path) == []

    def test_thousands_of_levels_with_few_descriptors(self, tmp_path, few_descriptors):
        before = open_descriptors()
        deep(tmp_path / "tree", 3000)
        remove_tree(str(tmp_path / "tree"))
        assert os.listdir(tmp_path) == []
        assert open_descriptors() == before

    def test_wide_and_deep(self, tmp_path, few_descriptors):
        for one in range(3):
            for two in range(3):
                directory = tmp_path / "tree" / str(one) / str(two)
                directory.mkdir(parents=True)
                deep(directory / "deep", 200)
        remove_tree(str(tmp_path / "tree"))
        assert os.listdir(tmp_path) == []

    def test_directories_without_permissions_as_an_ordinary_user(self, ordinary_user, in_child):
        tree = ordinary_user.directory / "tree"

        def as_user() -> list[str]:
            ordinary_user.become()
            deep(tree, 150)
            for path in (tree / "a-rather-long-name", tree):
                path.chmod(0)
            remove_tree(str(tree))
            return os.listdir(ordinary_user.directory)

        assert in_child(as_user) == "[]"

    def test_two_at_once(self, tmp_path):
        for number in range(300):
            directory = tmp_path / "tree" / str(number)
            directory.mkdir(parents=True)
            (directory / "file").touch()
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    remove_tree(str(tmp_path / "tree"))
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        assert os.listdir(tmp_path) == []


class TestTreeSize:
    def test_files_and_hard_links_once(self, tmp_path):
        (tmp_path / "tree").mkdir()
        data = tmp_path / "tree" / "data"
        data.write_bytes(os.urandom(1 << 20))
        os.link(data, tmp_path / "tree" / "again")
        (tmp_path / "tree" / "sparse").touch()
        os.truncate(tmp_path / "tree" / "sparse", 1 << 30)
        size = tree_size_bytes(str(tmp_path / "tree"))
        assert 1 << 20 <= size < 2 << 20
        said = subprocess.run(["du", "-s", "-B1", str(tmp_path / "tree")], capture_output=True, check=True, text=True)
        assert abs(int(said.stdout.split()[0]) - size) <= 8192  # du counts the root itself

    def test_what_is_not_there(self, tmp_path):
        assert tree_size_bytes(str(tmp_path / "none")) == 0

    def test_deeper_than_any_path(self, tmp_path, few_descriptors):
        deep(tmp_path / "tree", 1000)
        before = tree_size_bytes(str(tmp_path / "tree"))
        with open(tmp_path / "tree" / "more", "wb") as file:
            file.write(os.urandom(1 << 16))
        assert tree_size_bytes(str(tmp_path / "tree")) == before + (1 << 16)
        remove_tree(str(tmp_path / "tree"))


def test_a_tree_in_which_another_still_writes(tmp_path):
    """A process that is ending writes a last file or two while its directory is removed."""
    directory = tmp_path / "tree"

    def write():
        for number in range(30):
            try:
                (directory / str(number)).touch()
            except FileNotFoundError:
                return

    for _ in range(50):
        directory.mkdir()
        writer = threading.Thread(target=write)
        writer.start()
        remove_tree(str(directory))
        writer.join()
        assert not directory.exists()


@pytest.mark.parametrize(
    ("path", "expected"), [("/a/../../b/./c//", "b/c"), ("", ""), ("/", ""), ("..", ""), ("a/..", ""), ("./a", "a")]
)
def test_cleaned(path: str, expected: str) -> None:
    assert cleaned(path) == expected


def is_top_of_trees(path: Path) -> bool:
    listed = subprocess.run(["lsattr", "-d", path], capture_output=True, text=True, check=False)
    return "T" in listed.stdout.split()[0] if listed.returncode == 0 else False


def test_trees_get_places_of_their_own(tmp_path):
    by_hand, top = tmp_path / "by-hand", tmp_path / "new" / "top"
    by_hand.mkdir()
    make_top(str(top), 0o711)
    make_top(str(top), 0o700)
    assert top.stat().st_mode & 0o777 == 0o711
    if subprocess.run(["chattr", "+T", by_hand], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no tops of trees (ext4 does)")
    assert is_top_of_trees(top)
    (top / "below").mkdir()
    assert not is_top_of_trees(top / "below")


def test_a_file_system_without_such_tops(tmp_path):
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no /dev/shm")
    top = Path("/dev/shm") / random_name()
    try:
        make_top(str(top), 0o700)
        assert top.is_dir()
    finally:
        top.rmdir()
