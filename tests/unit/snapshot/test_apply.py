from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import cais
from cais.errors import Invalid
from cais.host.tar_writer import TarEntry, header, padding, trailer
from cais.snapshot.apply import Applied, apply

CAPABILITY = b"\1\0\0\2\0\4\0\0" + bytes(12)
root = pytest.mark.skipif(os.geteuid() != 0, reason="makes devices, gives files away")

SOURCE = os.path.dirname(os.path.dirname(cais.__file__))
Made = TarEntry | tuple[TarEntry, bytes]


def file(name: bytes | str, data: bytes = b"", **fields: object) -> Made:
    entry = TarEntry(os.fsencode(name), size_bytes=len(data))._replace(**fields)  # type: ignore[arg-type]
    return entry, data


def directory(name: bytes | str, mode: int = 0o755, **fields: object) -> Made:
    return TarEntry(os.fsencode(name), "directory", mode)._replace(**fields)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> Made:
    return TarEntry(name.encode(), "symlink", 0o777, link_target=target.encode())


def hardlink(name: str, target: str) -> Made:
    return TarEntry(name.encode(), "hardlink", link_target=target.encode())


def tar(*made: Made) -> bytes:
    parts = []
    for one in made:
        entry, data = one if not isinstance(one, TarEntry) else (one, b"")
        parts += [header(entry), data, padding(len(data))]
    return b"".join([*parts, trailer()])


def put(target: Path, *made: Made, style: str = "plain", **options: object) -> Applied:
    target.mkdir(exist_ok=True)
    options.setdefault("owners", os.geteuid() == 0)
    return apply(iter([tar(*made)]), str(target), style=style, **options)  # type: ignore[arg-type]


def tree(at: Path) -> dict[str, str]:
    """Paths with what is there: "/" a directory, "> x" a symbolic link, "-" a deletion, else content."""
    found = {}
    for path in sorted(at.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            what = "> " + os.readlink(path)
        elif stat.S_ISDIR(status.st_mode):
            what = "/"
            if "trusted.overlay.opaque" in os.listxattr(path):
                what = "/!"
        elif stat.S_ISCHR(status.st_mode):
            what = "-" if not status.st_rdev else "char"
        else:
            what = path.read_text()
        found[str(path.relative_to(at))] = what
    return found


def test_the_result_says_what_was_applied(tmp_path: Path) -> None:
    data = tar(directory("d"), file("d/f", b"12345"), file("g", b"x" * 100_000)) + bytes(9 * 512)
    applied = apply((data[at : at + 1000] for at in range(0, len(data), 1000)), str(tmp_path), style="plain")
    assert applied == (3, len(data), 100_005, "sha256:" + hashlib.sha256(data).hexdigest(), ())
    assert tree(tmp_path) == {"d": "/", "d/f": "12345", "g": "x" * 100_000}


@root
def test_owner_mode_time_and_attributes(tmp_path: Path) -> None:
    put(
        tmp_path,
        directory("d", 0o1777, uid=5, gid=6, mtime=100),
        directory("closed", 0o0, mtime=101),
        directory("closed/in", 0o500, mtime=102),
        file("closed/in/f", b"x", mode=0o000, mtime=103),
        file(
            "d/suid", b"x", mode=0o6755, uid=1000, gid=3_000_000, mtime=-4, xattrs={b"security.capability": CAPABILITY}
        ),
        file("d/mine", b"x", mode=0o666, mtime=2**31 + 5),
        symlink("d/link", "suid"),
    )
    seen = {}
    for path in tmp_path.rglob("*"):
        status = path.lstat()
        seen[path.name] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns // 10**9)
    assert seen == {
        "d": (0o1777, 5, 6, 100),
        "closed": (0, 0, 0, 101),
        "in": (0o500, 0, 0, 102),
        "f": (0, 0, 0, 103),
        "suid": (0o6755, 1000, 3_000_000, -4),
        "mine": (0o666, 0, 0, 2**31 + 5),
        "link": (0o777, 0, 0, 0),
    }
    assert os.getxattr(tmp_path / "d" / "suid", "security.capability") == CAPABILITY


def test_the_umask_does_not_matter_nor_does_a_setgid_directory(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        put(tmp_path, directory("d", 0o2775, gid=os.getegid()), file("d/f", mode=0o664), directory("d/e", 0o775))
        put(tmp_path, file("implied/f"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "d").rglob("*")}
    assert modes == {"f": 0o664, "e": 0o775}
    assert stat.S_IMODE((tmp_path / "implied").lstat().st_mode) == 0o755


def test_names_are_normalised_and_may_be_anything(tmp_path: Path) -> None:
    put(
        tmp_path,
        directory("./"),
        file("./a//b/./c", b"1"),
        file("/etc/passwd", b"2"),
        file("new\nline", b"3"),
        file(b"\xff\xfe", b"4"),
        file("n" * 255, b"5"),
        file("/".join(["p" * 250] * 40), b"6"),
    )
    names = os.listdir(os.fsencode(tmp_path))
    assert sorted(names) == [b"a", b"etc", b"new\nline", b"n" * 255, b"p" * 250, b"\xff\xfe"]
    assert (tmp_path / "a" / "b" / "c").read_text() == "1"
    assert (tmp_path / "etc" / "passwd").read_text() == "2"
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(39):
        below = os.open("p" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert os.listdir(fd) == ["p" * 250]
    os.close(fd)
    put(tmp_path, file("p" * 250, b"removed"))
    assert (tmp_path / ("p" * 250)).read_text() == "removed", "a tree deeper than a path may be is removed too"


def test_duplicates_the_last_one_wins_whatever_they_are(tmp_path: Path) -> None:
    kinds = {
        "file": file("x", b"file"),
        "directory": directory("x"),
        "symlink": symlink("x", "other"),
        "hardlink": hardlink("x", "other"),
    }
    wanted = {"file": "file", "directory": "/", "symlink": "> other", "hardlink": "o"}
    for first, one in kinds.items():
        for second, two in kinds.items():
            at = tmp_path / f"{first}-{second}"
            inside = [file("x/in", b"1"), directory("x/d"), file("x/d/e")] if first == "directory" else []
            put(at, file("other", b"o"), one, *inside, two, file("after"))
            found = tree(at)
            assert found.pop("other") == "o", "what a link points at is not written through it"
            assert found.pop("after") == ""
            left = {"x/in": "1", "x/d": "/", "x/d/e": ""} if first == second == "directory" else {}
            assert found == {"x": wanted[second], **left}


def test_a_hard_link_is_replaced_not_written_through(tmp_path: Path) -> None:
    put(tmp_path, file("a", b"one"), hardlink("b", "a"), file("b", b"two"))
    assert tree(tmp_path) == {"a": "one", "b": "two"}


def test_a_file_where_a_directory_must_be_makes_room(tmp_path: Path) -> None:
    put(tmp_path, file("a", b"file"), file("a/b/c", b"1"), file("a/b", b"2"), file("a/b/d", b"3"))
    assert tree(tmp_path) == {"a": "/", "a/b": "/", "a/b/d": "3"}


def test_parents_that_are_links_of_the_tree_are_followed_inside(tmp_path: Path) -> None:
    at = tmp_path / "at"
    put(
        at,
        directory("usr/lib", mtime=9),
        symlink("lib", "usr/lib"),
        symlink("abs", "/usr/lib"),
        symlink("up", "../../../../usr/../usr/lib/."),
        symlink("chain", "up"),
        symlink("dangling", "/var/made"),
        file("lib/1", b"1"),
        file("abs/2", b"2"),
        file("up/3", b"3"),
        file("chain/d/4", b"4"),
        file("dangling/5", b"5"),
        hardlink("hard", "chain/1"),
        symlink("abs/self", "x"),
    )
    found = {path: what for path, what in tree(at).items() if not what.startswith("> ") or "self" in path}
    assert found == {
        "usr": "/",
        "usr/lib": "/",
        "usr/lib/1": "1",
        "usr/lib/2": "2",
        "usr/lib/3": "3",
        "usr/lib/d": "/",
        "usr/lib/d/4": "4",
        "usr/lib/self": "> x",
        "var": "/",
        "var/made": "/",
        "var/made/5": "5",
        "hard": "1",
    }
    assert (at / "usr" / "lib").lstat().st_mtime == 9
    assert os.listdir(tmp_path) == ["at"]


def test_implied_directories_have_the_time_of_what_needs_them(tmp_path: Path) -> None:
    put(tmp_path, file("a/b/f", mtime=77), file("a/g", mtime=99))
    assert [(tmp_path / name).lstat().st_mtime for name in ("a", "a/b")] == [77, 77]


@root
class TestOverlay:
    def test_deletions(self, tmp_path: Path) -> None:
        put(
            tmp_path,
            directory("d"),
            file("d/.wh..wh..opq"),
            file("d/new", b"1"),
            file("d/.wh.old"),
            file(".wh.gone"),
            file("implied/.wh.x"),
            file(".wh..wh.plnk"),
            style="overlay-trusted",
        )
        assert tree(tmp_path) == {
            "d": "/!",
            "d/new": "1",
            "d/old": "-",
            "gone": "-",
            "implied": "/",
            "implied/x": "-",
        }

    @pytest.mark.parametrize("first", [True, False])
    def test_a_deletion_is_of_what_is_below_only(self, tmp_path: Path, first: bool) -> None:
        deletions = [file(".wh.f"), file(".wh.d"), file(".wh.l")]
        things = [file("f", b"1"), directory("d"), file("d/x", b"2"), symlink("l", "f")]
        put(tmp_path, *(deletions + things if first else things + deletions), style="overlay-trusted")
        assert tree(tmp_path) == {"f": "1", "d": "/!", "d/x": "2", "l": "> f"}

    def test_implied_directories_in_a_deletions_place_hide(self, tmp_path: Path) -> None:
        put(tmp_path, file(".wh.d"), file("d/e/f", b"1"), style="overlay-trusted")
        assert tree(tmp_path) == {"d": "/!", "d/e": "/", "d/e/f": "1"}

    def test_the_user_form(self, tmp_path: Path) -> None:
        put(tmp_path, file("d/.wh..wh..opq"), file(".wh.x"), style="overlay-user")
        assert os.getxattr(tmp_path / "d", "user.overlay.opaque") == b"y"
        assert (tmp_path / "x").is_char_device()

    def test_marks_of_overlayfs_do_not_come_from_archives(self, tmp_path: Path) -> None:
        attributes = {b"trusted.overlay.redirect": b"/secret", b"user.overlay.opaque": b"y", b"security.selinux": b"x"}
        applied = put(tmp_path, directory("d", xattrs=attributes), style="overlay-trusted")
        assert os.listxattr(tmp_path / "d") == []
        assert len(applied.notes) == 3
        with pytest.raises(Invalid, match="0:0"):
            put(tmp_path, TarEntry(b"dev", "char"), style="overlay-trusted")

    def test_the_roots_own_entry(self, tmp_path: Path) -> None:
        put(tmp_path / "one", directory("./", 0o711, uid=3, mtime=5), file("f"), style="overlay-trusted")
        status = (tmp_path / "one").lstat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime) == (0o711, 3, 5)
        put(tmp_path / "two", directory("./", 0o700, uid=3), style="plain")
        assert (tmp_path / "two").lstat().st_uid == 0
        with pytest.raises(Invalid, match="root directory"):
            put(tmp_path / "two", file("./"))


class TestMerged:
    def test_deletions(self, tmp_path: Path) -> None:
        put(tmp_path, file("d/old"), file("d/e/old"), file("gone/x/y"), file("f", b"1"), file("keep", b"k"))
        put(
            tmp_path,
            directory("d"),
            file("d/new", b"2"),
            file("d/.wh..wh..opq"),
            file(".wh.gone"),
            file(".wh.f"),
            file(".wh.nothing"),
            file("none/at/all/.wh.x"),
            style="merged",
        )
        assert tree(tmp_path) == {"d": "/", "d/new": "2", "keep": "k"}

    @pytest.mark.parametrize("first", [True, False])
    def test_a_deletion_is_of_what_is_below_only(self, tmp_path: Path, first: bool) -> None:
        put(tmp_path, file("d/old"), file("f", b"old"))
        deletions = [file(".wh.f"), file(".wh.d")]
        things = [file("f", b"1"), directory("d"), file("d/x/y", b"2")]
        put(tmp_path, *(deletions + things if first else things + deletions), style="merged")
        assert tree(tmp_path) == {"f": "1", "d": "/", "d/x": "/", "d/x/y": "2"}

    def test_deletions_do_not_follow_links_out(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_text("1")
        at = tmp_path / "at"
        at.mkdir()
        (at / "link").symlink_to(outside)
        (at / "up").symlink_to("../outside")
        entries = ["link/.wh.precious", "link/.wh..wh..opq", "up/.wh.precious", "up/.wh..wh..opq", ".wh.link"]
        for name in entries:
            put(at, file(name), style="merged")
        assert (outside / "precious").read_text() == "1"
        assert not (at / "link").is_symlink()


def test_plain_has_no_deletions(tmp_path: Path) -> None:
    put(tmp_path, file("x", b"1"), file(".wh.x", b"2"), file(".wh..wh..opq"))
    assert tree(tmp_path) == {"x": "1", ".wh.x": "2", ".wh..wh..opq": ""}


def test_limits_are_named(tmp_path: Path) -> None:
    put(tmp_path, file("a"), file("b"), limit_entries=2)
    with pytest.raises(Invalid, match="more than 2 entries"):
        put(tmp_path, file("a"), file("b"), file("c"), limit_entries=2)
    with pytest.raises(Invalid, match="more than 5000 bytes"):
        put(tmp_path, file("a", b"x" * 5000), limit_bytes=5000)
    put(tmp_path, file("a", b"x" * 3000), limit_bytes=5000)


def test_a_sparse_file_counts_with_its_size(tmp_path: Path) -> None:
    records = b"".join(
        b"%d %s\n" % (len(text) + 4, text) for text in (b"GNU.sparse.size=9999999", b"GNU.sparse.map=9999999,0")
    )
    extended = bytearray(header(TarEntry(b"x", size_bytes=len(records))))
    extended[156:157] = b"x"
    extended[148:156] = b" " * 8
    extended[148:156] = b"%06o\0 " % sum(extended)
    bomb = bytes(extended) + records + padding(len(records)) + tar(file("f"))
    apply(iter([bomb]), str(tmp_path), style="plain")
    assert (tmp_path / "f").lstat().st_size == 9999999
    assert (tmp_path / "f").lstat().st_blocks < 20
    with pytest.raises(Invalid, match="more than 1000000 bytes"):
        apply(iter([bomb]), str(tmp_path), style="plain", limit_bytes=1_000_000)


def test_entries_may_be_changed_or_left_out(tmp_path: Path) -> None:
    def change(entry: TarEntry) -> TarEntry | None:
        return None if entry.name == b"skip" else entry._replace(name=b"sub/" + entry.name, mode=0o600)

    put(tmp_path, file("skip", b"1"), file("f", b"2"), file("g", b"3"), change_entry=change)
    assert tree(tmp_path) == {"sub": "/", "sub/f": "2", "sub/g": "3"}
    assert stat.S_IMODE((tmp_path / "sub" / "f").lstat().st_mode) == 0o600


def test_without_owners_everything_is_ours(tmp_path: Path) -> None:
    put(tmp_path, file("f", uid=12345, gid=54321, mode=0o4755), symlink("l", "f"), owners=False)
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in tmp_path.iterdir()} == {(os.geteuid(), os.getegid())}
    assert stat.S_IMODE((tmp_path / "f").lstat().st_mode) == 0o4755


@root
@pytest.mark.parametrize("uid", [-1, -5, 2**32 - 1, 2**32, 2**60])
def test_impossible_owners_and_times(tmp_path: Path, uid: int) -> None:
    link = TarEntry(b"l", "symlink", uid=uid, link_target=b"x")
    for made in (
        file("f", uid=uid),
        file("f", gid=uid),
        directory("d", uid=uid),
        link,
        TarEntry(b"p", "fifo", gid=uid),
    ):
        with pytest.raises(Invalid, match="no such ids"):
            put(tmp_path, made)
    with pytest.raises(Invalid, match="impossible time"):
        put(tmp_path, directory("d", mtime=2**65))


@root
def test_an_owner_that_this_user_does_not_have(tmp_path: Path) -> None:
    """In a user namespace of one id."""
    (tmp_path / "layer.tar").write_bytes(tar(file("f", uid=5)))
    (tmp_path / "target").mkdir()
    code = """if True:
        import sys
        from cais.errors import Denied
        from cais.snapshot.apply import apply
        try:
            apply(iter([open(sys.argv[1], "rb").read()]), sys.argv[2], style="overlay-user")
        except Denied as error:
            assert "subuid" in error.hint
            print(error)
    """
    command = ["unshare", "-Ur", sys.executable, "-c", code, str(tmp_path / "layer.tar"), str(tmp_path / "target")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": SOURCE})
    assert "this user has no such ids" in done.stdout


def test_a_source_that_fails_ends_the_threads(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield tar(file("f", b"x" * 9000))[:4000]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        apply(broken(), str(tmp_path), style="plain")
    assert not [thread for thread in threading.enumerate() if thread.name in ("hash", "ahead")]
