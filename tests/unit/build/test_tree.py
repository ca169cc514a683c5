"""A tree as a root: how links are followed in it, and what is never reached."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.build import tree as module
from cais.build.tree import Tree, open_beneath, shown


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    root = tmp_path / "root"
    (root / "a/b/c/d/e/f").mkdir(parents=True)
    (root / "a/file").write_text("x")
    (tmp_path / "outside").mkdir()
    for name, target in {
        "up": "../../outside",
        "a/root": "/",
        "a/sibling": "b/c",
        "a/b/back": "..",
        "dangling": "no/where",
        "absolute": "/a/b",
        "chain": "absolute",
        "a/b/c/d/e/out": "/../../../..",
    }.items():
        (root / name).symlink_to(target)
    with Tree(str(root)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("a/b", "a/b"),
        ("/a//./b/", "a/b"),
        ("../../a", "a"),
        ("a/root/a/file", "a/file"),
        ("a/sibling/d", "a/b/c/d"),
        ("a/b/back/b", "a/b"),
        ("chain/c", "a/b/c"),
        ("chain/..", "a"),
        ("dangling", "no/where"),
        ("dangling/x", "no/where/x"),
        ("up", "outside"),
        ("a/b/c/d/e/out/a", "a"),
        ("a/file/x", "a/file/x"),
        ("missing/../a", "a"),
    ],
)
def test_resolve(tree: Tree, path: str, expected: str) -> None:
    resolved = tree.resolve(path)
    assert resolved.path == expected
    assert (resolved.status is not None) == os.path.lexists(os.path.join(tree.path, expected))


def test_the_last_link_may_stay(tree: Tree) -> None:
    assert tree.resolve("chain", follow_last=False).path == "chain"
    assert tree.resolve("a/root/chain", follow_last=False).path == "chain"


def test_links_that_leave_are_told(tree: Tree) -> None:
    assert tree.resolve("up").left == '"up" -> "../../outside"'
    assert tree.resolve("a/sibling").left == ""


def test_another_root_inside(tree: Tree) -> None:
    assert tree.resolve("root/b", base="a").path == "a/b"
    assert tree.resolve("../../b", base="a").path == "a/b"


@pytest.mark.parametrize("steps", [0, 100])
class TestOpening:
    """Both ways: by openat2, and part by part."""

    @pytest.fixture(autouse=True)
    def way(self, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_FEW", steps)

    @pytest.mark.parametrize("path", ["a/root", "a/sibling/d", "absolute/c", "a/../a", "..", "a/..", "up/x"])
    def test_links_and_dots_are_refused(self, tree: Tree, path: str) -> None:
        with pytest.raises(OSError) as error:
            os.close(tree.open(path))
        assert error.value.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)

    def test_the_rest_is_opened(self, tree: Tree) -> None:
        for path in ("", "a", "a/b/c/d/e/f"):
            os.close(tree.open(path))
        file = tree.open_file("a/file")
        assert os.read(file, 9) == b"x"
        os.close(file)

    def test_no_descriptor_is_lost(self, tree: Tree) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for path in ("a/b/c", "a/none/x", "a/sibling/d"):
            try:
                os.close(open_beneath(tree.descriptor, path))
            except OSError:
                pass
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a b", '"a b"'), ('q"', '"q\\""'), ("\n\x1b", '"\\n\\x1b"'), ("ü", '"ü"'), ("\udcff", '"\\xff"')],
)
def test_shown(path: str, expected: str) -> None:
    assert shown(path) == expected
