"""Mount points come and go without a trace, and never outside the root."""

from __future__ import annotations

import os

import pytest

from cais.errors import Failed, Invalid
from cais.runtime import mount_points
from cais.runtime.mount_points import Made


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_made_and_removed_with_the_times_of_their_parents(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").write_text("mine")
    for path in (tmp_path / "etc", tmp_path):
        os.utime(path, ns=(10**18, 10**18))
    wanted = [("/etc/hosts", False), ("/etc/hostname", False), ("/a/b/c", True), ("/a/b/d/file", False)]
    made = mount_points.prepare(str(tmp_path), wanted)
    assert tree(tmp_path) == ["a", "a/b", "a/b/c", "a/b/d", "a/b/d/file", "etc", "etc/hostname", "etc/hosts"]
    assert Made("/etc/hosts", False) not in made
    assert os.stat(tmp_path).st_mtime_ns == os.stat(tmp_path / "etc").st_mtime_ns == 10**18
    mount_points.remove(str(tmp_path), made)
    assert tree(tmp_path) == ["etc", "etc/hosts"]
    assert os.stat(tmp_path).st_mtime_ns == os.stat(tmp_path / "etc").st_mtime_ns == 10**18


def test_what_was_written_there_stays(tmp_path):
    made = mount_points.prepare(str(tmp_path), [("/a/file", False), ("/b", True)])
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "b" / "new").write_text("x")
    mount_points.remove(str(tmp_path), made)
    assert tree(tmp_path) == ["a", "a/file", "b", "b/new"]
    mount_points.remove(str(tmp_path / "b"), [Made("/not/there", True)])


def test_links_are_resolved_inside(tmp_path):
    root = tmp_path / "root"
    (root / "run").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "var" / "run").symlink_to("/run")
    (root / "out").symlink_to("../../outside")
    made = mount_points.prepare(str(root), [("/var/run/secrets", True)])
    assert (root / "run" / "secrets").is_dir()
    made += mount_points.prepare(str(root), [("/out/x", True), ("/out/y/z", False)])
    assert (root / "outside" / "x").is_dir() and (root / "outside" / "y" / "z").is_file()
    (root / "loop").symlink_to("loop")
    with pytest.raises((Invalid, Failed), match=r"(?i)too many"):
        mount_points.prepare(str(root), [("/loop/x", True)])
    mount_points.remove(str(root), made)
    assert tree(root) == ["loop", "out", "run", "var", "var/run"]
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(("path", "is_directory"), [("/file", True), ("/directory", False), ("/file/x", True)])
def test_a_file_is_no_directory(tmp_path, path, is_directory):
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    with pytest.raises(Invalid, match="cannot mount"):
        mount_points.prepare(str(tmp_path), [(path, is_directory)])


def test_a_working_directory_stays(tmp_path):
    mount_points.make_directory(str(tmp_path), "/w/x")
    assert (tmp_path / "w" / "x").stat().st_mode & 0o777 == 0o755
