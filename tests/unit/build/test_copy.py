"""COPY's rules, one by one, on a plain directory, and where it matters on a layer with something below it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cais.build.context import Context, select_from
from cais.build.graph import Copy, InlineFile, MakeDirectory
from cais.build.ops.copy import CopyReport, copy
from cais.build.ops.directories import make_directory
from cais.build.ops.target import LayerTarget, Target
from cais.errors import Invalid, NotFound

pytestmark = pytest.mark.root

NOW = 1_700_000_000 * 10**9
OLD = 1_500_000_000_123_456_789


class Place(NamedTuple):
    """A context, an image's file system, and what copies from the one to the other."""

    context: Path
    image: Path
    run: Callable[..., CopyReport]
    look: Callable[[str], Path]


@pytest.fixture(params=["plain", "layer"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """``look`` gives the path of the result, from the layer or from what is below it."""
    context, image, layer = tmp_path / "context", tmp_path / "image", tmp_path / "layer"
    for directory in (context, image, layer):
        directory.mkdir()
        directory.chmod(0o755)

    def run(*sources: str, to: str, **flags: object) -> CopyReport:
        op = Copy(tuple(sources), to, **flags)  # type: ignore[arg-type]
        target = Target(image) if request.param == "plain" else LayerTarget(layer, image)
        with target, Context(str(context)) as given:
            return copy(op, given.select(op) if sources else None, target, modified=NOW)

    def look(path: str) -> Path:
        if request.param == "layer" and os.path.lexists(layer / path):
            return layer / path
        return image / path

    yield Place(context, image, run, look)


def write(path: Path, data: bytes | str = b"x", mode: int = 0o644, modified: int = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)
    os.utime(path, ns=(modified, modified))
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def owner(path: Path) -> tuple[int, int]:
    return path.lstat().st_uid, path.lstat().st_gid


class TestDestination:
    def test_trailing_slash_makes_a_directory_with_its_parents(self, place: Place) -> None:
        write(place.context / "f")
        place.run("f", to="/a/b/")
        assert place.look("a/b/f").read_bytes() == b"x"
        for made in ("a", "a/b"):
            assert mode(place.look(made)) == 0o755
            assert owner(place.look(made)) == (0, 0)
            assert place.look(made).stat().st_mtime_ns == NOW

    def test_directories_that_are_only_passed_keep_their_time(self, place: Place) -> None:
        write(place.context / "f")
        (place.image / "usr/bin").mkdir(parents=True)
        for path in ("usr/bin", "usr"):
            os.utime(place.image / path, ns=(OLD, OLD))
        place.run("f", to="/usr/bin/")
        assert place.look("usr").stat().st_mtime_ns == OLD
        assert place.look("usr/bin").stat().st_mtime_ns == NOW

    def test_without_slash_it_is_the_name(self, place: Place) -> None:
        write(place.context / "f", "one")
        place.run("f", to="/a/g")
        assert place.look("a/g").read_bytes() == b"one"

    def test_an_existing_directory_takes_it_in(self, place: Place) -> None:
        write(place.context / "f")
        (place.image / "d").mkdir(mode=0o700)
        place.run("f", to="/d")
        assert place.look("d/f").read_bytes() == b"x"
        assert mode(place.look("d")) == 0o700

    def test_several_to_a_name_without_slash_the_last_wins(self, place: Place) -> None:
        write(place.context / "a", "a")
        write(place.context / "b", "b")
        place.run("a", "b", to="/x")
        assert place.look("x").read_bytes() == b"b"

    def test_several_to_a_directory(self, place: Place) -> None:
        write(place.context / "a", "a")
        write(place.context / "b", "b")
        place.run("a", "b", to="/x/")
        assert sorted(os.listdir(place.look("x"))) == ["a", "b"]

    def test_the_root(self, place: Place) -> None:
        write(place.context / "f")
        place.run("f", to="/")
        assert place.look("f").read_bytes() == b"x"

    def test_dots_are_cleaned(self, place: Place) -> None:
        write(place.context / "f")
        place.run("f", to="/a/../../b/./f")
        assert place.look("b/f").read_bytes() == b"x"

    def test_a_file_in_the_way_of_a_parent(self, place: Place) -> None:
        write(place.context / "f")
        write(place.image / "etc", "file")
        with pytest.raises(Invalid, match=r'"/etc" is not a directory'):
            place.run("f", to="/etc/x/")

    def test_through_a_linked_directory(self, place: Place) -> None:
        write(place.context / "f")
        (place.image / "real").mkdir()
        (place.image / "link").symlink_to("/real")
        place.run("f", to="/link/sub/")
        assert place.look("real/sub/f").read_bytes() == b"x"
        assert place.look("link").is_symlink()

    def test_a_link_to_a_directory_is_written_through(self, place: Place) -> None:
        write(place.context / "d/f")
        (place.image / "real").mkdir()
        (place.image / "link").symlink_to("real")
        place.run("d", to="/link")
        assert place.look("real/f").read_bytes() == b"x"

    def test_a_dangling_link_is_made_where_it_points(self, place: Place) -> None:
        write(place.context / "f")
        (place.image / "link").symlink_to("/var/real")
        place.run("f", to="/link/")
        assert place.look("var/real/f").read_bytes() == b"x"

    def test_links_out_of_the_image_stay_in(self, place: Place, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        write(place.context / "f")
        (place.image / "link").symlink_to("../../outside")
        (place.image / "absolute").symlink_to(outside)
        place.run("f", to="/link/")
        place.run("f", to="/absolute/")
        assert os.listdir(outside) == []
        assert place.look("outside/f").is_file()
        assert place.look(str(outside).lstrip("/") + "/f").is_file()


class TestReplacing:
    def test_a_file_is_replaced(self, place: Place) -> None:
        write(place.context / "f", "new", 0o600)
        write(place.image / "f", "old", 0o777)
        os.link(place.image / "f", place.image / "other")
        place.run("f", to="/f")
        assert place.look("f").read_bytes() == b"new"
        assert mode(place.look("f")) == 0o600
        assert (place.image / "other").read_bytes() == b"old"

    def test_a_file_in_a_directory_is_replaced(self, place: Place) -> None:
        write(place.context / "d/f", "new")
        write(place.image / "d/f", "old")
        place.run("d", to="/d")
        assert place.look("d/f").read_bytes() == b"new"

    def test_a_file_over_a_directory(self, place: Place) -> None:
        write(place.context / "d/f")
        (place.image / "x/f").mkdir(parents=True)
        with pytest.raises(Invalid, match=r'cannot replace to directory "/x/f" with file'):
            place.run("d", to="/x")

    def test_a_directory_over_a_file(self, place: Place) -> None:
        write(place.context / "d/f/g")
        write(place.image / "x/f")
        with pytest.raises(Invalid, match=r'cannot copy to non-directory: "/x/f"'):
            place.run("d", to="/x")
        with pytest.raises(Invalid, match=r'cannot copy to non-directory: "/x/f"'):
            place.run("d", to="/x/f")

    def test_a_link_is_replaced_not_followed_inside_a_tree(self, place: Place) -> None:
        write(place.context / "d/f", "new")
        write(place.image / "secret", "old")
        (place.image / "x").mkdir()
        (place.image / "x/f").symlink_to("/secret")
        place.run("d", to="/x")
        assert place.look("x/f").read_bytes() == b"new"
        assert not place.look("x/f").is_symlink()
        assert place.look("secret").read_bytes() == b"old"

    def test_a_link_over_a_file(self, place: Place) -> None:
        (place.context / "d").mkdir()
        (place.context / "d/l").symlink_to("nowhere")
        write(place.image / "x/l")
        place.run("d", to="/x")
        assert os.readlink(place.look("x/l")) == "nowhere"

    def test_an_existing_destination_stays_as_it_is(self, place: Place) -> None:
        write(place.context / "d/f")
        (place.image / "x").mkdir()
        (place.image / "x").chmod(0o1777)
        os.chown(place.image / "x", 7, 8)
        place.run("d", to="/x", chown="1:2", chmod="0711")
        assert mode(place.look("x")) == 0o1777
        assert owner(place.look("x")) == (7, 8)
        assert owner(place.look("x/f")) == (1, 2)

    def test_existing_directories_below_it_become_like_the_source(self, place: Place) -> None:
        write(place.context / "d/sub/deep/f")
        (place.context / "d/sub").chmod(0o700)
        os.utime(place.context / "d/sub", (1_000, 1_000))
        (place.image / "x/sub/deep").mkdir(parents=True)
        (place.image / "x/sub").chmod(0o1777)
        os.chown(place.image / "x/sub", 7, 8)
        place.run("d", to="/x")
        assert mode(place.look("x/sub")) == 0o700
        assert owner(place.look("x/sub")) == (0, 0)
        assert place.look("x/sub").stat().st_mtime == 1_000

    def test_options_are_for_existing_directories_too(self, place: Place) -> None:
        write(place.context / "d/sub/f")
        (place.image / "x/sub").mkdir(parents=True)
        place.run("d", to="/x", chown="1:2", chmod="0711")
        assert mode(place.look("x/sub")) == 0o711
        assert owner(place.look("x/sub")) == (1, 2)
        assert mode(place.look("x/sub/f")) == 0o711
        assert owner(place.look("x/sub/f")) == (1, 2)


class TestDirectories:
    @pytest.mark.parametrize("source", ["dir", "dir/", "dir/."])
    def test_contents_not_the_directory(self, place: Place, source: str) -> None:
        write(place.context / "dir/sub/f")
        write(place.context / "dir/g")
        place.run(source, to="/dst")
        assert sorted(os.listdir(place.look("dst"))) == ["g", "sub"]

    def test_new_ones_are_like_their_source_but_for_the_first(self, place: Place) -> None:
        write(place.context / "dir/sub/f")
        (place.context / "dir").chmod(0o700)
        (place.context / "dir/sub").chmod(0o2751)
        os.chown(place.context / "dir/sub", 5, 6)
        os.utime(place.context / "dir/sub", ns=(OLD, OLD))
        place.run("dir", to="/dst")
        assert mode(place.look("dst")) == 0o755
        assert mode(place.look("dst/sub")) == 0o2751
        assert owner(place.look("dst/sub")) == (0, 0)
        assert place.look("dst/sub").stat().st_mtime_ns == OLD

    def test_empty_ones(self, place: Place) -> None:
        (place.context / "dir/empty").mkdir(parents=True)
        place.run("dir", to="/dst")
        assert place.look("dst/empty").is_dir()

    def test_an_empty_source_makes_the_destination(self, place: Place) -> None:
        (place.context / "empty").mkdir()
        place.run("empty", to="/dst")
        assert os.listdir(place.look("dst")) == []

    def test_the_whole_context(self, place: Place) -> None:
        write(place.context / "a/b/c")
        write(place.context / "f")
        place.run(".", to="/app")
        assert place.look("app/a/b/c").is_file()
        assert place.look("app/f").is_file()

    def test_a_readonly_directory(self, place: Place) -> None:
        write(place.context / "d/ro/f")
        (place.context / "d/ro").chmod(0o555)
        place.run("d", to="/x")
        assert mode(place.look("x/ro")) == 0o555
        assert place.look("x/ro/f").is_file()

    def test_group_of_a_set_group_id_parent_is_not_inherited(self, place: Place) -> None:
        write(place.context / "d/sub/f")
        (place.image / "x").mkdir()
        os.chown(place.image / "x", 0, 42)
        (place.image / "x").chmod(0o2775)
        place.run("d", to="/x")
        assert owner(place.look("x/sub")) == (0, 0)
        assert mode(place.look("x/sub")) == 0o755
        assert owner(place.look("x/sub/f")) == (0, 0)


class TestWildcards:
    def test_contents_of_matching_directories_are_merged(self, place: Place) -> None:
        write(place.context / "sub/one/a")
        write(place.context / "sub/two/b")
        write(place.context / "sub/c")
        place.run("sub/*", to="/d/")
        assert sorted(os.listdir(place.look("d"))) == ["a", "b", "c"]

    def test_one_match_deep_down_is_renamed(self, place: Place) -> None:
        write(place.context / "sub/one/dir2/foo", "foo")
        write(place.context / "sub/one/dir3/foo")
        place.run("sub/*/dir2/foo", to="/x/bar")
        assert place.look("x/bar").read_bytes() == b"foo"

    def test_brackets(self, place: Place) -> None:
        write(place.context / "a[0].txt", "bracket")
        write(place.context / "a0.txt", "zero")
        place.run("a[[]0].txt", to="/x/")
        assert os.listdir(place.look("x")) == ["a[0].txt"]

    def test_escapes(self, place: Place) -> None:
        write(place.context / "a*b", "star")
        write(place.context / "axb")
        place.run("a\\*b", to="/x/")
        assert os.listdir(place.look("x")) == ["a*b"]

    def test_star_does_not_cross_slashes(self, place: Place) -> None:
        write(place.context / "d/e/f.c")
        write(place.context / "d/g.c")
        place.run("d/*.c", to="/x/")
        assert os.listdir(place.look("x")) == ["g.c"]

    def test_no_match_copies_nothing(self, place: Place) -> None:
        report = place.run("*.none", to="/x/")
        assert report.files == 0
        assert not place.look("x").exists()

    def test_no_match_beside_what_is_there(self, place: Place) -> None:
        write(place.context / "f")
        place.run("*.none", "f", to="/x/")
        assert os.listdir(place.look("x")) == ["f"]

    def test_a_malformed_pattern(self, place: Place) -> None:
        with pytest.raises(Invalid, match="syntax error in pattern"):
            place.run("a[", to="/x/")

    def test_question_mark_and_ranges(self, place: Place) -> None:
        for name in ("a1", "a2", "b1", "a10"):
            write(place.context / name)
        place.run("[a-a]?", to="/x/")
        assert sorted(os.listdir(place.look("x"))) == ["a1", "a2"]


class TestSources:
    def test_missing(self, place: Place) -> None:
        with pytest.raises(NotFound, match=r'^"/foo": not found$'):
            place.run("foo", to="/x")

    def test_all_must_be_there(self, place: Place) -> None:
        write(place.context / "f")
        with pytest.raises(NotFound):
            place.run("f", "g", to="/x/")

    def test_clamped_at_the_root(self, place: Place) -> None:
        write(place.context / "foo")
        place.run("../../foo", to="/")
        assert place.look("foo").is_file()

    def test_absolute_is_relative_to_the_context(self, place: Place) -> None:
        write(place.context / "foo")
        place.run("/foo", to="/")
        assert place.look("foo").is_file()

    def test_a_link_is_followed_when_named(self, place: Place) -> None:
        write(place.context / "real", "data")
        (place.context / "link").symlink_to("real")
        (place.context / "absolute").symlink_to("/real")
        place.run("link", "absolute", to="/x/")
        for name in ("link", "absolute"):
            assert not place.look(f"x/{name}").is_symlink()
            assert place.look(f"x/{name}").read_bytes() == b"data"

    def test_a_link_to_a_directory_is_followed_when_named(self, place: Place) -> None:
        write(place.context / "real/f")
        (place.context / "link").symlink_to("real")
        place.run("link", to="/x")
        assert os.listdir(place.look("x")) == ["f"]

    def test_links_inside_a_directory_stay(self, place: Place) -> None:
        (place.context / "d").mkdir()
        (place.context / "d/dangling").symlink_to("/no/such")
        (place.context / "d/up").symlink_to("../../..")
        os.utime(place.context / "d/up", ns=(OLD, OLD), follow_symlinks=False)
        place.run("d", to="/x")
        assert os.readlink(place.look("x/dangling")) == "/no/such"
        assert os.readlink(place.look("x/up")) == "../../.."
        assert place.look("x/up").lstat().st_mtime_ns == OLD

    def test_modes_and_times_are_kept_owners_are_not(self, place: Place) -> None:
        write(place.context / "f", mode=0o4751)
        os.chown(place.context / "f", 1234, 1234)
        (place.context / "f").chmod(0o4751)
        os.utime(place.context / "f", ns=(OLD, OLD))
        place.run("f", to="/f")
        assert mode(place.look("f")) == 0o4751
        assert owner(place.look("f")) == (0, 0)
        assert place.look("f").stat().st_mtime_ns == OLD

    @pytest.mark.parametrize("bits", [0o000, 0o400, 0o666, 0o777, 0o6777, 0o1644])
    def test_modes_whatever_the_umask(self, place: Place, bits: int) -> None:
        write(place.context / "f", mode=bits)
        before = os.umask(0o077)
        try:
            place.run("f", to="/f")
        finally:
            os.umask(before)
        assert mode(place.look("f")) == bits

    def test_names_of_any_bytes(self, place: Place) -> None:
        names = [b"two words", b"new\nline", b"\xff\xfe", "übung".encode(), b'quo"te', b"-rf"]
        (place.context / "d").mkdir()
        for name in names:
            (place.context / "d" / os.fsdecode(name)).write_bytes(name)
        place.run("d", to="/x")
        assert sorted(os.listdir(os.fsencode(place.look("x")))) == sorted(names)
        place.run("d/two words", "d/\udcff\udcfe", to="/y/")
        assert sorted(os.listdir(os.fsencode(place.look("y")))) == [b"two words", b"\xff\xfe"]

    def test_a_socket_of_the_context_becomes_an_empty_file(self, place: Place) -> None:
        write(place.context / "d/f")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place.context / "d/s"))
            (place.context / "d/s").chmod(0o4750)
            report = place.run("d", to="/x")
            place.run("d/s", "d/s*", to="/y/")
            place.run("d/s", to="/unpacked/", unpack=True)
        assert report.files == 2
        for path in ("x/s", "y/s", "unpacked/s"):
            status = place.look(path).lstat()
            assert stat.S_ISREG(status.st_mode) and status.st_size == 0 and stat.S_IMODE(status.st_mode) == 0o4750

    def test_special_files(self, place: Place) -> None:
        (place.context / "d").mkdir()
        os.mkfifo(place.context / "d/fifo", 0o640)
        os.mknod(place.context / "d/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        place.run("d", to="/x")
        assert stat.S_ISFIFO(place.look("x/fifo").lstat().st_mode)
        assert mode(place.look("x/fifo")) == 0o640
        assert place.look("x/null").lstat().st_rdev == os.makedev(1, 3)

    def test_extended_attributes(self, place: Place) -> None:
        write(place.context / "d/f")
        os.setxattr(place.context / "d/f", "user.mine", b"value")
        os.setxattr(place.context / "d", "user.not", b"value")
        (place.context / "d/sub").mkdir()
        os.setxattr(place.context / "d/sub", "user.dir", b"value")
        place.run("d", to="/x")
        assert os.getxattr(place.look("x/f"), "user.mine") == b"value"
        assert os.getxattr(place.look("x/sub"), "user.dir") == b"value"

    def test_holes_stay_holes(self, place: Place) -> None:
        with open(place.context / "sparse", "wb") as file:
            file.truncate(64 << 20)
            file.seek(32 << 20)
            file.write(b"middle")
        place.run("sparse", to="/sparse")
        result = place.look("sparse")
        assert result.stat().st_size == 64 << 20
        assert result.stat().st_blocks * 512 < 1 << 20
        with open(result, "rb") as file:
            file.seek(32 << 20)
            assert file.read(8) == b"middle\0\0"

    def test_a_large_file(self, place: Place) -> None:
        data = os.urandom(3 << 20) + b"end"
        write(place.context / "big", data)
        report = place.run("big", to="/big")
        assert place.look("big").read_bytes() == data
        assert report.size_bytes == len(data)


class TestOwnersAndModes:
    def passwd(self, place: Place) -> None:
        write(place.image / "etc/passwd", "root:x:0:0::/:\nnobody:x:65534:65533::/:\nbroken\nuser:x:1000:1001::/:\n")
        write(place.image / "etc/group", "root:x:0:\nstaff:x:50:\nuser:x:2000:\n")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("user:staff", (1000, 50)),
            ("user", (1000, 1001)),
            ("1000", (1000, 1000)),
            ("5:6", (5, 6)),
            ("user:7", (1000, 7)),
            ("7:staff", (7, 50)),
            ("root", (0, 0)),
        ],
    )
    def test_chown(self, place: Place, text: str, expected: tuple[int, int]) -> None:
        self.passwd(place)
        write(place.context / "d/sub/f")
        report = place.run("d", to="/new/dir", chown=text)
        for path in ("new", "new/dir", "new/dir/sub", "new/dir/sub/f"):
            assert owner(place.look(path)) == expected, path
        assert report.notes == ()

    def test_an_unknown_name_is_root_and_said(self, place: Place) -> None:
        self.passwd(place)
        write(place.context / "f")
        report = place.run("f", to="/f", chown="ghost:spirits")
        assert owner(place.look("f")) == (0, 0)
        assert len(report.notes) == 2
        assert "ghost" in report.notes[0]

    def test_a_name_where_there_is_no_passwd(self, place: Place) -> None:
        write(place.context / "f")
        with pytest.raises(Invalid, match="no /etc/passwd"):
            place.run("f", to="/f", chown="ghost")
        assert place.run("f", to="/f", chown="9:8").notes == ()

    def test_passwd_is_not_looked_up_outside(self, place: Place, tmp_path: Path) -> None:
        write(tmp_path / "evil", "mallory:x:666:666::/:\n")
        (place.image / "etc").mkdir()
        (place.image / "etc/passwd").symlink_to(tmp_path / "evil")
        write(place.context / "f")
        with pytest.raises(Invalid, match="no /etc/passwd"):
            place.run("f", to="/f", chown="mallory")

    @pytest.mark.parametrize("text", ["4294967295", "99999999999999999999", "1:4294967295"])
    def test_impossible_owners(self, place: Place, text: str) -> None:
        write(place.context / "f")
        with pytest.raises(Invalid, match="invalid owner"):
            place.run("f", to="/f", chown=text)

    def test_chmod_files_and_directories(self, place: Place) -> None:
        write(place.context / "d/sub/f")
        place.run("d", to="/x/y", chmod="2750")
        assert mode(place.look("x")) == 0o755
        assert mode(place.look("x/y")) == 0o755
        assert mode(place.look("x/y/sub")) == 0o2750
        assert mode(place.look("x/y/sub/f")) == 0o2750

    def test_chown_keeps_the_set_user_id_bit(self, place: Place) -> None:
        write(place.context / "f", mode=0o4755)
        place.run("f", to="/f", chown="5:5")
        assert mode(place.look("f")) == 0o4755
        assert owner(place.look("f")) == (5, 5)

    def test_a_link_is_chowned_itself(self, place: Place) -> None:
        (place.context / "d").mkdir()
        (place.context / "d/l").symlink_to("/etc/shadow")
        write(place.image / "etc/shadow", mode=0o600)
        place.run("d", to="/x", chown="5:5", chmod="0777")
        assert owner(place.look("x/l")) == (5, 5)
        assert owner(place.look("etc/shadow")) == (0, 0)
        assert mode(place.look("etc/shadow")) == 0o600


class TestInline:
    def test_one_to_a_name(self, place: Place) -> None:
        place.run(to="/x/f", inline=(InlineFile("EOF", b"text\n"),))
        assert place.look("x/f").read_bytes() == b"text\n"
        assert mode(place.look("x/f")) == 0o644
        assert owner(place.look("x/f")) == (0, 0)
        assert place.look("x/f").stat().st_mtime_ns == NOW

    def test_two_to_a_directory(self, place: Place) -> None:
        place.run(to="/x/", inline=(InlineFile("A", b"a"), InlineFile("B", b"b")), chmod="755", chown="3:4")
        assert place.look("x/B").read_bytes() == b"b"
        assert mode(place.look("x/A")) == 0o755
        assert owner(place.look("x/A")) == (3, 4)

    def test_beside_files(self, place: Place) -> None:
        write(place.context / "f")
        place.run("f", to="/x/", inline=(InlineFile("A", b"a"),))
        assert sorted(os.listdir(place.look("x"))) == ["A", "f"]


class TestFromStage:
    def copy_from(self, place: Place, source: str, to: str, **flags: object) -> None:
        stage = place.context
        op = Copy((source,), to, from_context=False, **flags)  # type: ignore[arg-type]
        tree, selection = select_from(str(stage), op)
        with tree, Target(place.image) as target:
            copy(op, selection, target, modified=NOW)

    def test_owners_stay_but_the_new_directory_is_roots(self, place: Place) -> None:
        write(place.context / "dir/sub/f")
        for path in ("dir", "dir/sub", "dir/sub/f"):
            os.chown(place.context / path, 10, 20)
        self.copy_from(place, "/dir", "/newdir")
        assert owner(place.image / "newdir") == (0, 0)
        assert owner(place.image / "newdir/sub") == (10, 20)
        assert owner(place.image / "newdir/sub/f") == (10, 20)

    def test_chown_of_all(self, place: Place) -> None:
        write(place.context / "dir/sub/f")
        self.copy_from(place, "/dir", "/newdir", chown="7:8")
        for path in ("newdir", "newdir/sub", "newdir/sub/f"):
            assert owner(place.image / path) == (7, 8)

    def test_capabilities_and_bits_survive(self, place: Place) -> None:
        # CAP_NET_RAW, permitted and effective, as setcap writes it.
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        write(place.context / "ping", mode=0o4755)
        os.chown(place.context / "ping", 3, 3)
        (place.context / "ping").chmod(0o4755)
        os.setxattr(place.context / "ping", "security.capability", capability)
        os.setxattr(place.context / "ping", "user.note", b"n")
        self.copy_from(place, "ping", "/bin/ping")
        result = place.image / "bin/ping"
        assert os.getxattr(result, "security.capability") == capability
        assert os.getxattr(result, "user.note") == b"n"
        assert mode(result) == 0o4755
        assert owner(result) == (3, 3)

    def test_hard_links_stay_links(self, place: Place) -> None:
        write(place.context / "d/a/one", "data")
        (place.context / "d/b").mkdir()
        os.link(place.context / "d/a/one", place.context / "d/b/two")
        os.link(place.context / "d/a/one", place.context / "outside")
        write(place.context / "d/b/two.not", "data")
        self.copy_from(place, "d", "/x")
        one, two = place.image / "x/a/one", place.image / "x/b/two"
        assert one.stat().st_ino == two.stat().st_ino
        assert one.stat().st_nlink == 2
        assert (place.image / "x/b/two.not").stat().st_nlink == 1


class TestParents:
    def test_new_parents_are_like_their_sources(self, place: Place) -> None:
        write(place.context / "a/b/f", mode=0o600)
        (place.context / "a").chmod(0o700)
        (place.context / "a/b").chmod(0o711)
        place.run("/./a/b/f", to="/x/", parents=True)
        assert mode(place.look("x")) == 0o755
        assert mode(place.look("x/a")) == 0o700
        assert mode(place.look("x/a/b")) == 0o711
        assert place.look("x/a/b/f").read_bytes() == b"x"

    def test_existing_parents_get_the_mode_only(self, place: Place) -> None:
        write(place.context / "a/f")
        (place.context / "a").chmod(0o700)
        (place.image / "x/a").mkdir(parents=True)
        os.chown(place.image / "x/a", 7, 8)
        place.run("/./a/f", to="/x/", parents=True, chown="3:4")
        assert (mode(place.look("x/a")), owner(place.look("x/a"))) == (0o700, (7, 8))
        assert owner(place.look("x/a/f")) == (3, 4)

    def test_chown_and_chmod_of_new_parents(self, place: Place) -> None:
        write(place.context / "a/f")
        place.run("/./a/f", to="/x/", parents=True, chown="3:4", chmod="u=rwx,go=")
        for path in ("x/a", "x/a/f"):
            assert (mode(place.look(path)), owner(place.look(path))) == (0o700, (3, 4))
        assert (mode(place.look("x")), owner(place.look("x"))) == (0o755, (3, 4))

    def test_nothing_that_matches_makes_the_destination(self, place: Place) -> None:
        write(place.context / "f")
        place.run("/./none*", to="/x/y", parents=True)
        assert list(place.look("x/y").iterdir()) == []

    def test_symbolic_mode_of_files_and_directories(self, place: Place) -> None:
        write(place.context / "d/sub/f", mode=0o640)
        (place.context / "d/sub").chmod(0o710)
        place.run("d", to="/x", chmod="go+rX")
        assert mode(place.look("x/sub")) == 0o755
        assert mode(place.look("x/sub/f")) == 0o644

    def test_symbolic_mode_of_a_heredoc(self, place: Place) -> None:
        place.run(to="/f", inline=(InlineFile("f", b"x"),), chmod="u+x")
        assert mode(place.look("f")) == 0o744


class TestMakeDirectory:
    def test_new_parts(self, place: Place) -> None:
        (place.image / "srv").mkdir(mode=0o700)
        with Target(place.image) as target:
            make_directory(MakeDirectory("/srv/../srv/a/./b", "4:5"), target, modified=NOW)
        assert mode(place.image / "srv") == 0o700
        assert owner(place.image / "srv") == (0, 0)
        for made in ("srv/a", "srv/a/b"):
            assert mode(place.image / made) == 0o755
            assert owner(place.image / made) == (4, 5)

    def test_existing_is_not_touched_and_asks_for_no_passwd(self, place: Place) -> None:
        (place.image / "work").mkdir(mode=0o711)
        assert make_directory(MakeDirectory("/work", "ghost"), str(place.image)) == ()
        assert mode(place.image / "work") == 0o711

    def test_inside_the_root(self, place: Place, tmp_path: Path) -> None:
        (place.image / "link").symlink_to("../../..")
        make_directory(MakeDirectory("/link/made"), str(place.image))
        assert (place.image / "made").is_dir()
        assert not (tmp_path / "made").exists()

    def test_a_file_in_the_way(self, place: Place) -> None:
        write(place.image / "f")
        with pytest.raises(Invalid, match='"/f" is not a directory'):
            make_directory(MakeDirectory("/f/d"), str(place.image))
