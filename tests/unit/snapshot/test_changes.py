from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from cais.errors import Unsupported
from cais.snapshot.changes import Change, clamp_times, overlay_changes, tree_changes

PREFIX = b"trusted.overlay."
root = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="mounts")]


def said(changes: object) -> list[str]:
    marks = {"whiteout": "-", "opaque": "!", "hardlink": "="}
    found = []
    for change in changes:  # type: ignore[attr-defined]
        assert isinstance(change, Change)
        found.append(marks.get(change.kind, change.kind[0]) + os.fsdecode(change.path) + ("=" if change.link else ""))
    return found


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    for name in ("one", "two", "upper", "work", "at"):
        (tmp_path / name).mkdir()
    return tmp_path


def in_overlay(at: Path, script: str, *, lower: str = "two:one", options: str = "") -> None:
    """Runs a shell script in an overlay of these directories, in a mount namespace of its own."""
    mount = f'mount -t overlay overlay -o "lowerdir={lower},upperdir=upper,workdir=work{options}" at && cd at\n'
    subprocess.run(["unshare", "-m", "sh", "-ec", mount + script], cwd=at, check=True)


def changes(at: Path) -> list[str]:
    return said(overlay_changes(str(at / "upper"), [os.fsencode(at / name) for name in ("two", "one")], PREFIX))


class TestOverlay:
    pytestmark = root

    def test_all_that_can_happen(self, layers: Path) -> None:
        for path in ("one/etc/a", "one/etc/b", "one/gone/x", "one/again/x/y", "two/etc/c", "two/file"):
            (layers / path).parent.mkdir(parents=True, exist_ok=True)
            (layers / path).write_text(path)
        in_overlay(
            layers,
            """
            rm etc/a file; rm -r gone
            rm -r again; mkdir again again/x; echo new > again/x/z
            mkdir -p new/deep; echo 1 > new/deep/file; echo 2 > new-er; ln new-er new/link; ln -s file sym
            echo more >> etc/c
            mkdir file; mkfifo new/fifo
            """,
        )
        assert changes(layers) == [
            "dagain",
            "!again",
            "dagain/x",
            "fagain/x/z",
            "detc",
            "-etc/a",
            "fetc/c",
            "dfile",
            "-gone",
            "dnew",
            "dnew/deep",
            "fnew/deep/file",
            "fnew/fifo",
            "fnew/link",
            "=new-er=",
            "ssym",
        ]

    def test_new_directories_are_not_opaque_though_the_kernel_says_so(self, layers: Path) -> None:
        (layers / "one" / "usr").mkdir()
        in_overlay(layers, "mkdir -p a/b/c usr/new", options=",xino=on")
        assert os.getxattr(layers / "upper" / "usr" / "new", "trusted.overlay.opaque") == b"y", "or this shows nothing"
        assert changes(layers) == ["da", "da/b", "da/b/c", "dusr", "dusr/new"]

    @pytest.mark.parametrize("between", ["whiteout", "file", "opaque parent"])
    def test_what_a_layer_between_hides_is_not_below(self, layers: Path, between: str) -> None:
        (layers / "one" / "d" / "x").mkdir(parents=True)
        if between == "whiteout":
            os.mknod(layers / "two" / "d", stat.S_IFCHR, 0)
        elif between == "file":
            (layers / "two" / "d").write_text("")
        else:
            (layers / "two" / "d").mkdir()
            os.setxattr(layers / "two" / "d", "trusted.overlay.opaque", b"y")
        in_overlay(layers, "mkdir -p d/x" if between != "file" else "rm d; mkdir -p d/x")
        assert changes(layers) == ["dd", "dd/x"]

    def test_links_below_lead_nowhere(self, layers: Path) -> None:
        (layers / "one" / "lib").symlink_to("/usr")
        in_overlay(layers, "rm lib; mkdir -p lib/bin lib/share")
        assert changes(layers) == ["dlib", "dlib/bin", "dlib/share"], "the host's /usr is not looked at"

    def test_deletions_as_attributes(self, layers: Path) -> None:
        (layers / "upper" / "empty").write_text("")
        (layers / "upper" / "gone").write_text("")
        os.setxattr(layers / "upper" / "gone", "trusted.overlay.whiteout", b"y")
        assert changes(layers) == ["fempty", "-gone"]

    def test_renamed_directories_are_refused(self, layers: Path) -> None:
        (layers / "one" / "d").mkdir()
        in_overlay(layers, "mv d e", options=",redirect_dir=on")
        with pytest.raises(Unsupported, match="redirect"):
            changes(layers)

    def test_deeper_than_a_path_may_be(self, layers: Path) -> None:
        names = ["n" * 200 + str(n) for n in range(40)]
        for layer in ("one", "upper"):
            fd = os.open(layers / layer, os.O_RDONLY)
            for name in names:
                os.mkdir(name, dir_fd=fd)
                below = os.open(name, os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = below
            os.setxattr(fd, "trusted.overlay.opaque", b"y")
            os.close(fd)
        found = list(overlay_changes(str(layers / "upper"), [os.fsencode(layers / "one")], PREFIX))
        assert len(found) == 41
        assert found[-1] == Change("/".join(names).encode(), "opaque")


def test_sockets_are_noted(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{directory}/s")
    os.close(directory)
    (tmp_path / "t").write_text("")
    notes: list[str] = []
    assert said(overlay_changes(str(tmp_path), [], PREFIX, notes.append)) == ["ft"]
    assert said(tree_changes(None, str(tmp_path), notes.append)) == ["ft"]
    assert len(notes) == 2
    assert "socket 's'" in notes[0]


def test_the_order_is_of_names_within_directories(tmp_path: Path) -> None:
    for path in ("a/x", "a-b", "a.c/y", "B", "a/x/1", "é"):
        if "y" in path or "x" in path:
            (tmp_path / path).mkdir(parents=True)
        else:
            (tmp_path / path).write_text("")
    wanted = ["fB", "da", "da/x", "da/x/1", "fa-b", "da.c", "da.c/y", "fé"]
    assert said(tree_changes(None, str(tmp_path))) == wanted
    assert said(overlay_changes(str(tmp_path), [], PREFIX)) == wanted


class TestTrees:
    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        for name in ("old", "new"):
            tree = tmp_path / name
            for path, text in {"etc/a": "1", "etc/b": "2", "gone/x": "3", "same/deep/er": "4", "kind": "5"}.items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_text(text)
                os.utime(tree / path, (1000, 1000))
            (tree / "sym").symlink_to("target")
            os.utime(tree / "sym", (1000, 1000), follow_symlinks=False)
        return tmp_path / "old", tmp_path / "new"

    def changes(self, pair: tuple[Path, Path]) -> list[str]:
        return said(tree_changes(str(pair[0]), str(pair[1])))

    def test_equal_trees(self, pair: tuple[Path, Path]) -> None:
        assert self.changes(pair) == []
        os.utime(pair[1] / "etc", (5, 5))
        assert self.changes(pair) == [], "a directory's time alone is no change"

    def test_all_that_can_happen(self, pair: tuple[Path, Path]) -> None:
        new = pair[1]
        (new / "etc" / "a").unlink()
        for path in ("gone/x", "kind"):
            (new / path).unlink()
        (new / "gone").rmdir()
        (new / "kind").mkdir()
        (new / "kind" / "in").write_text("6")
        (new / "same" / "deep" / "new").write_text("7")
        os.link(new / "same" / "deep" / "new", new / "zz")
        assert self.changes(pair) == [
            "detc",
            "-etc/a",
            "-gone",
            "dkind",
            "fkind/in",
            "dsame",
            "dsame/deep",
            "fsame/deep/new",
            "=zz=",
        ]

    def test_content_with_the_same_size_and_time(self, pair: tuple[Path, Path]) -> None:
        path = pair[1] / "etc" / "b"
        path.write_text("X")
        os.utime(path, (1000, 1000))
        assert self.changes(pair) == ["detc", "fetc/b"]

    def test_modes_attributes_and_links(self, pair: tuple[Path, Path]) -> None:
        os.chmod(pair[1] / "same" / "deep", 0o700)
        os.setxattr(pair[1] / "etc" / "b", "user.x", b"1")
        (pair[1] / "sym").unlink()
        (pair[1] / "sym").symlink_to("tarGet")
        os.utime(pair[1] / "sym", (1000, 1000), follow_symlinks=False)
        assert self.changes(pair) == ["detc", "fetc/b", "dsame", "dsame/deep", "ssym"]

    def test_a_directory_becomes_a_file(self, pair: tuple[Path, Path]) -> None:
        (pair[1] / "gone" / "x").unlink()
        (pair[1] / "gone").rmdir()
        (pair[1] / "gone").write_text("")
        assert self.changes(pair) == ["fgone"]

    def test_a_socket_where_a_file_was(self, pair: tuple[Path, Path]) -> None:
        (pair[1] / "kind").unlink()
        directory = os.open(pair[1], os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{directory}/kind")
        os.close(directory)
        assert self.changes(pair) == ["-kind"]


def test_times_are_clamped(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("d/old", "d/new", "new"):
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    os.utime(tmp_path / "d" / "old", (50, 50))
    clamp_times(str(tmp_path), 100)
    times = {path.name: os.lstat(path).st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    assert times.pop("old") == 50 * 10**9
    assert set(times.values()) == {100 * 10**9}
    newest = max(change.newest for change in tree_changes(None, str(tmp_path)))
    assert newest == 100
