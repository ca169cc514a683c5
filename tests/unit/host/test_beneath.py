from __future__ import annotations

import os
from pathlib import Path

import pytest

from cais.host.beneath import Beneath


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_directories_are_found_and_few_stay_open(tmp_path: Path) -> None:
    before = open_files()
    with Beneath(str(tmp_path)) as tree:
        for n in range(200):
            (tmp_path / f"d{n}" / "in").mkdir(parents=True)
            assert os.fstat(tree.fd(b"d%d/in" % n)).st_ino == (tmp_path / f"d{n}" / "in").stat().st_ino
            assert os.fstat(tree.fd(b"d%d" % n)).st_ino == (tmp_path / f"d{n}").stat().st_ino
        assert os.fstat(tree.fd(b"")).st_ino == tmp_path.stat().st_ino
        assert os.fstat(tree.fd(b"d0/in")).st_ino == (tmp_path / "d0" / "in").stat().st_ino, "one that was closed"
        assert open_files() - before < 60
    assert open_files() <= before


def test_what_is_on_the_way_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(100):
        (tmp_path / "a" / "b" / "c" / f"d{n}").mkdir(parents=True)
    opened = []
    opens = os.open
    with Beneath(str(tmp_path)) as tree:
        monkeypatch.setattr(os, "open", lambda *args, **more: opened.append(args[0]) or opens(*args, **more))
        for n in range(100):
            assert os.fstat(tree.fd(b"a/b/c/d%d" % n)).st_ino == (tmp_path / f"a/b/c/d{n}").stat().st_ino
        monkeypatch.undo()
        assert opened.count(b"a") == opened.count(b"b") == 1 and len(opened) < 110
        assert os.fstat(tree.fd(b"a/b")).st_ino == (tmp_path / "a" / "b").stat().st_ino


def test_the_last_directory_stays_open_where_another_is_not_there(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefghijklmnopqrstuvwxyz")
    deep.mkdir(parents=True)
    with Beneath(str(tmp_path)) as tree:
        for n in range(60):
            (tmp_path / f"d{n}").mkdir()
            tree.fd(b"d%d" % n)
        with pytest.raises(FileNotFoundError):
            tree.fd(b"a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/missing/z")
        assert os.fstat(tree.fd(b"d59")).st_ino == (tmp_path / "d59").stat().st_ino


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "file").write_text("")
    with Beneath(str(tmp_path)) as tree:
        for path in (b"link", b"link/in", b"out", b"out/apt", b"file", b"file/x"):
            with pytest.raises(NotADirectoryError):
                tree.fd(path)
        with pytest.raises(FileNotFoundError):
            tree.fd(b"real/missing/deeper")
        assert tree.fd(b"real/in")


def test_what_is_removed_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "d" / "in" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "in" / "file").write_text("")
    (tmp_path / "d-other").mkdir()
    (tmp_path / "d" / "out").symlink_to(tmp_path / "d-other")
    with Beneath(str(tmp_path)) as tree:
        other = tree.fd(b"d-other")
        tree.fd(b"d/in/deep")
        tree.remove(b"", b"d")
        tree.remove(b"", b"d")
        with pytest.raises(FileNotFoundError):
            tree.fd(b"d/in/deep")
        (tmp_path / "d").mkdir()
        assert os.fstat(tree.fd(b"d")).st_ino == (tmp_path / "d").stat().st_ino
        assert tree.fd(b"d-other") == other, "what only begins the same stays"
    assert (tmp_path / "d-other").is_dir()


def test_trees_deeper_than_a_path_may_be(tmp_path: Path) -> None:
    names = [b"n" * 200] * 60
    with Beneath(str(tmp_path)) as tree:
        for depth in range(60):
            os.mkdir(names[depth], dir_fd=tree.fd(b"/".join(names[:depth])))
        os.setxattr(tree.path(b"/".join(names[:-1]), names[-1]), "user.x", b"1")
        tree.fd(b"")
        assert os.getxattr(tree.fd(b"/".join(names)), "user.x") == b"1"
    with Beneath(str(tmp_path)) as tree:
        assert os.getxattr(tree.fd(b"/".join(names)), "user.x") == b"1", "with nothing open on the way"
        tree.remove(b"", names[0])
    assert os.listdir(tmp_path) == []
