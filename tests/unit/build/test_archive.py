"""ADD of local archives: recognised by content, unpacked inside the destination, whatever they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cais.build.context import Context
from cais.build.graph import Copy
from cais.build.ops.copy import CopyReport, copy
from cais.build.ops.target import LayerTarget, Target
from cais.errors import CaisError, Corrupt, Invalid

pytestmark = pytest.mark.root

NOW = 1_700_000_000 * 10**9
Run = Callable[..., CopyReport]


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mtime = 1_500_000_000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
    info.uid, info.gid = 11, 12
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.mkdir()
    return path


@pytest.fixture
def add(context: Path, image: Path) -> Run:
    def run(*sources: str, to: str, target: Target | None = None, **flags: Any) -> CopyReport:
        op = Copy(tuple(sources), to, unpack=True, **flags)
        with target or Target(image) as opened, Context(str(context)) as given:
            return copy(op, given.select(op), opened, modified=NOW)

    return run


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_by_content_whatever_its_name(context: Path, image: Path, add: Run, compress: Callable[[bytes], bytes]) -> None:
    (context / "data.txt").write_bytes(compress(archive(member("dir/f", data=b"content"))))
    add("data.txt", to="/x")
    assert (image / "x/dir/f").read_bytes() == b"content"
    status = (image / "x/dir/f").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (11, 12, 0o640)
    assert status.st_mtime == 1_500_000_000
    assert (image / "x/dir").stat().st_uid == 0
    assert stat.S_IMODE((image / "x/dir").stat().st_mode) == 0o755


@pytest.mark.parametrize("data", [b"just text", gzip.compress(b"just text"), b"", bytes(1024), b"BZh9nonsense"])
def test_what_is_no_archive_is_copied(context: Path, image: Path, add: Run, data: bytes) -> None:
    (context / "x.tar.gz").write_bytes(data)
    add("x.tar.gz", to="/d/")
    assert (image / "d/x.tar.gz").read_bytes() == data


def test_copy_does_not_unpack(context: Path, image: Path) -> None:
    data = archive(member("f"))
    (context / "a.tar").write_bytes(data)
    op = Copy(("a.tar",), "/a.tar")
    with Target(image) as target, Context(str(context)) as given:
        copy(op, given.select(op), target)
    assert (image / "a.tar").read_bytes() == data


def test_a_wildcard_unpacks_each(context: Path, image: Path, add: Run) -> None:
    (context / "a.tar").write_bytes(archive(member("a")))
    (context / "b.tar").write_bytes(archive(member("b")))
    (context / "c.txt").write_bytes(b"c")
    add("*", to="/x/")
    assert sorted(os.listdir(image / "x")) == ["a", "b", "c.txt"]


def test_chown_and_chmod_are_for_what_is_copied(context: Path, image: Path, add: Run) -> None:
    (context / "a.tar").write_bytes(archive(member("d", tarfile.DIRTYPE, mode=0o700, uid=5, gid=6), member("d/f")))
    add("a.tar", to="/x", chown="3:4", chmod="0711")
    status = (image / "x/d").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (5, 6, 0o700)
    status = (image / "x").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (3, 4, 0o755)


def test_everything_that_a_tar_may_hold(context: Path, image: Path, add: Run) -> None:
    (context / "a.tar").write_bytes(
        archive(
            member("d", tarfile.DIRTYPE, mode=0o1777),
            member("d/f", data=b"f", mode=0o4755, pax_headers={"SCHILY.xattr.user.k": "v"}),
            member("d/hard", tarfile.LNKTYPE, linkname="d/f", mode=0o4755),
            member("d/soft", tarfile.SYMTYPE, linkname="/d/f"),
            member("d/fifo", tarfile.FIFOTYPE),
            member("d/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("./d/with spaces\nand lines", data=b"n"),
            member("."),
        )
    )
    add("a.tar", to="/")
    assert stat.S_IMODE((image / "d").stat().st_mode) == 0o1777
    assert (image / "d").stat().st_mtime == 1_500_000_000
    assert (image / "d/hard").stat().st_ino == (image / "d/f").stat().st_ino
    assert stat.S_IMODE((image / "d/f").stat().st_mode) == 0o4755
    assert os.getxattr(image / "d/f", "user.k") == b"v"
    assert os.readlink(image / "d/soft") == "/d/f"
    assert stat.S_ISFIFO((image / "d/fifo").stat().st_mode)
    assert (image / "d/null").stat().st_rdev == os.makedev(1, 3)
    assert (image / "d/with spaces\nand lines").read_bytes() == b"n"


def test_existing_directories_are_merged_and_the_rest_replaced(context: Path, image: Path, add: Run) -> None:
    (image / "d/keep").mkdir(parents=True)
    (image / "d/tree/deep").mkdir(parents=True)
    (image / "d/f").write_bytes(b"old")
    (image / "d/l").symlink_to("/d/f")
    (context / "a.tar").write_bytes(
        archive(
            member("d", tarfile.DIRTYPE, mode=0o711),
            member("d/tree", data=b"file"),
            member("d/l", data=b"new"),
            member("d/f", tarfile.DIRTYPE),
        )
    )
    add("a.tar", to="/")
    assert (image / "d/keep").is_dir()
    assert (image / "d/tree").read_bytes() == b"file"
    assert (image / "d/l").read_bytes() == b"new"
    assert (image / "d/f").is_dir()
    assert stat.S_IMODE((image / "d").stat().st_mode) == 0o711


def test_into_a_layer(context: Path, image: Path, add: Run, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (image / "d/tree/deep").mkdir(parents=True)
    (image / "d/f").write_bytes(b"old")
    (context / "a.tar").write_bytes(
        archive(
            member("d", tarfile.DIRTYPE, mode=0o711),
            member("d/tree", data=b"file"),
            member("d/tree", tarfile.DIRTYPE),
            member("d/tree/new", data=b"n"),
        )
    )
    add("a.tar", to="/", target=LayerTarget(layer, image))
    assert os.getxattr(layer / "d/tree", "trusted.overlay.opaque") == b"y"
    assert os.listdir(layer / "d/tree") == ["new"]
    assert stat.S_IMODE((layer / "d").stat().st_mode) == 0o711
    assert (image / "d/tree/deep").is_dir()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", "d/../../../evil"])
def test_names_that_lead_out_stay_in(context: Path, image: Path, add: Run, tmp_path: Path, name: str) -> None:
    (context / "a.tar").write_bytes(archive(member("ok", data=b"x"), member(name, data=b"x")))
    add("a.tar", to="/x")
    assert (image / "x/evil").is_file()
    assert not (image / "evil").exists() and not (tmp_path / "evil").exists()


def test_links_lead_nowhere_but_into_the_destination(context: Path, image: Path, add: Run, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (image / "etc").mkdir()
    (context / "a.tar").write_bytes(
        archive(
            member("out", tarfile.SYMTYPE, linkname="../../../outside"),
            member("out/f", data=b"x"),
            member("abs", tarfile.SYMTYPE, linkname="/etc"),
            member("abs/f", data=b"x"),
            member("host", tarfile.SYMTYPE, linkname=str(tmp_path / "outside")),
            member("host/f", data=b"x"),
        )
    )
    add("a.tar", to="/x")
    assert os.listdir(tmp_path / "outside") == []
    assert os.listdir(image / "etc") == []
    assert (image / "x/outside/f").is_file()
    assert (image / "x/etc/f").is_file()


@pytest.mark.parametrize("link", ["../../secret", "missing", "/etc/passwd", "."])
def test_hard_links_of_what_is_not_there(context: Path, add: Run, tmp_path: Path, link: str) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    (context / "a.tar").write_bytes(archive(member("l", tarfile.LNKTYPE, linkname=link)))
    with pytest.raises(Invalid):
        add("a.tar", to="/x")


@pytest.mark.parametrize("kind", ["plain", "layer"])
def test_hard_links_of_what_the_image_has(context: Path, image: Path, add: Run, tmp_path: Path, kind: str) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (image / "d").mkdir()
    (image / "d/f").write_bytes(b"old")
    (image / "d/f").chmod(0o604)
    os.setxattr(image / "d/f", "user.mine", b"value")
    (image / "d/l").symlink_to("f")
    entries = (
        member("h", tarfile.LNKTYPE, linkname="d/f", mode=0o640),
        member("d/l2", tarfile.LNKTYPE, linkname="d/l", mode=0o777),
        member("again", tarfile.LNKTYPE, linkname="h", mode=0o640),
    )
    (context / "a.tar").write_bytes(archive(*entries))
    add("a.tar", to="/", target=LayerTarget(layer, image) if kind == "layer" else None)
    made = layer if kind == "layer" else image
    assert (made / "h").read_bytes() == b"old" and os.getxattr(made / "h", "user.mine") == b"value"
    assert (made / "h").samefile(made / "d/f") and (made / "h").samefile(made / "again")
    assert stat.S_IMODE((made / "d/f").stat().st_mode) == 0o640
    assert os.readlink(made / "d/l2") == "f" and (made / "d/l").lstat().st_ino == (made / "d/l2").lstat().st_ino
    if kind == "layer":
        assert stat.S_IMODE((image / "d/f").stat().st_mode) == 0o604 and not (image / "h").exists()


def test_a_hard_link_that_says_the_same_keeps_capabilities(context: Path, image: Path, add: Run) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    entries = (
        member("f", data=b"x", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": capability.decode()}),
        member("h", tarfile.LNKTYPE, linkname="f", mode=0o755),
    )
    (context / "a.tar").write_bytes(archive(*entries))
    add("a.tar", to="/x")
    assert os.getxattr(image / "x/h", "security.capability") == capability


def test_truncated(context: Path, add: Run) -> None:
    whole = archive(member("f", data=os.urandom(100_000)))
    (context / "a.tar").write_bytes(whole[:50_000])
    with pytest.raises(Corrupt, match=r'cannot unpack "/a\.tar"'):
        add("a.tar", to="/x")
    (context / "a.tar").write_bytes(gzip.compress(whole)[:50_000])
    with pytest.raises(CaisError, match=r'cannot unpack "/a\.tar"'):
        add("a.tar", to="/x")


def test_the_whiteout_device_is_refused(context: Path, add: Run) -> None:
    (context / "a.tar").write_bytes(archive(member("w", tarfile.CHRTYPE, devmajor=0, devminor=0)))
    with pytest.raises(Invalid, match="0:0"):
        add("a.tar", to="/x")


def test_a_bomb_stops_at_the_limit(context: Path, add: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cais.build.ops.archive.LIMIT_BYTES", 1 << 20)
    (context / "a.tar").write_bytes(gzip.compress(archive(member("f", data=bytes(8 << 20)))))
    with pytest.raises(Invalid, match="limit"):
        add("a.tar", to="/x")
