"""Labels of SELinux on trees that containers are given."""

from __future__ import annotations

import os

import pytest

from cais.errors import Invalid
from cais.host.selinux import SHARED_LABEL, relabel

pytestmark = pytest.mark.root


@pytest.fixture
def tree(tmp_path):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this host has SELinux: labels are not for tests")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "enforce").write_text("1")
    return tmp_path


def label(path):
    try:
        return os.getxattr(path, "security.selinux", follow_symlinks=False)
    except OSError:
        return b""


def test_a_tree_is_labelled_and_links_are_not_followed(tree):
    try:
        assert relabel(str(tree / "tree"), enforcing=str(tree / "enforce"))
    except OSError:
        pytest.skip("this file system has no labels")
    for name in ("tree", "tree/sub", "tree/sub/file"):
        assert label(tree / name) == SHARED_LABEL
    assert label(tree / "outside") == b""


def test_without_selinux_nothing_is_done(tree):
    assert not relabel(str(tree / "tree"), enforcing=str(tree / "nothing"))
    assert label(tree / "tree") == b""


def test_directories_of_the_system_are_refused(tree):
    with pytest.raises(Invalid, match="SELinux relabeling of /usr is not allowed"):
        relabel("/usr", enforcing=str(tree / "enforce"))
