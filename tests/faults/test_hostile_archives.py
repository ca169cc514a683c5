"""ADD of local archives that lie, end early, point out or never end: a clear error or a copy, and nothing outside."""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cais.build.context import Context
from cais.build.graph import Copy
from cais.build.ops.copy import copy
from cais.build.ops.target import Target
from cais.errors import CaisError
from cais.host.tar_writer import TarEntry, header

pytestmark = pytest.mark.root
NOW = 1_700_000_000 * 10**9
Add = Callable[[bytes], str]


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Adds an archive to ``/x/`` of an image with links to the outside, which stays as it is; says the error, or ""."""
    context, image, outside = tmp_path / "context", tmp_path / "image", tmp_path / "outside"
    for directory in (context, image, outside):
        directory.mkdir()
    (outside / "secret").write_text("secret")
    (image / "x").mkdir()
    (image / "x/way-out").symlink_to(outside)
    (image / "x/up").symlink_to("../../..")
    (image / "x/host").symlink_to("/")

    def run(data: bytes) -> str:
        (context / "a.tar").write_bytes(data)
        op = Copy(("a.tar",), "/x/", unpack=True)
        before = sorted(os.listdir(tmp_path))
        try:
            with Target(image) as target, Context(str(context)) as given:
                copy(op, given.select(op), target, modified=NOW)
            return ""
        except CaisError as error:
            return str(error)
        finally:
            assert [path.name for path in outside.iterdir()] == ["secret"]
            assert (outside / "secret").read_text() == "secret"
            assert (outside / "secret").stat().st_nlink == 1
            assert sorted(os.listdir(tmp_path)) == before

    return run


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> bytes:
    """One entry, with its content."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(data), 1_500_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def raw(changes: dict[int, bytes], name: bytes = b"f", data: bytes = b"") -> bytes:
    """A plain header with other bytes at some offsets, and its checksum right."""
    block = bytearray(header(TarEntry(name, "file", 0o644, 0, 0, 1_500_000_000, len(data))))
    for place, value in changes.items():
        block[place : place + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


END = bytes(1024)
OPAQUE = {"SCHILY.xattr.trusted.overlay.opaque": "y"}
USER_OPAQUE = {"SCHILY.xattr.user.overlay.opaque": "y"}
ENTRIES = b"".join((
    member("d/", tarfile.DIRTYPE, mode=0o755), member("d/f", data=os.urandom(3000)),
    member("d/l", tarfile.SYMTYPE, linkname="f"), member("d/h", tarfile.LNKTYPE, linkname="d/f"),
    member("n" * 200, data=b"long", pax_headers={"SCHILY.xattr.user.a": "b"}), member("last", data=b"last"),
))  # fmt: skip


class TestCutOff:
    def test_anywhere(self, add: Add) -> None:
        """What a header or content misses is said; between two entries, an archive may end."""
        assert add(ENTRIES + END) == ""
        for length in range(0, len(ENTRIES), 256):
            said = add(ENTRIES[:length])
            assert said == "" or "cannot unpack" in said, (length, said)

    def test_compressed_anywhere(self, add: Add) -> None:
        whole = gzip.compress(ENTRIES + END, mtime=0)
        for length in range(20, len(whole) - 8, 97):
            said = add(whole[:length])
            assert said == "" or "cannot unpack" in said, (length, said)

    @pytest.mark.parametrize("data", [b"", bytes(512), bytes(10240), b"\x1f\x8b", b"\x1f\x8b\x08\0" + bytes(6), b"BZh9",
                                      b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"ustar" * 200])  # fmt: skip
    def test_what_only_looks_like_one(self, add: Add, data: bytes, tmp_path: Path) -> None:
        assert add(data) == ""
        assert (tmp_path / "image/x/a.tar").read_bytes() == data

    def test_broken_bits(self, add: Add) -> None:
        chance = random.Random(1)
        for _ in range(150):
            data = bytearray(ENTRIES + END)
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            said = add(bytes(data))
            assert said == "" or "/" in said


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("time beyond all clocks", raw({136: b"\x80" + b"\x7f" * 11})),
        ("time before all clocks", raw({136: b"\xff" * 11 + b"\0"})),
        ("time of pax", member("f", pax_headers={"mtime": "1e300"})),
        ("time that is none", member("f", pax_headers={"mtime": "nan"})),
        ("endless size", raw({124: b"\x80" + b"\x7f" * 11})),
        ("negative size", raw({124: b"\xff" * 12})),
        ("size of pax", member("f", pax_headers={"size": "99999999999999999999999"})),
        ("negative size of pax", member("f", pax_headers={"size": "-1"})),
        ("user id beyond 32 bits", member("f", pax_headers={"uid": "99999999999"})),
        ("user id that is no one", member("f", uid=(1 << 32) - 1)),
        ("negative user id", raw({108: b"\xff" * 8})),
        ("path beyond the limit", member("d/" * 5000 + "f")),
        ("name beyond the limit", member("n" * 300)),
        ("NUL in a name", member("f", pax_headers={"path": "a\0b"})),
        ("NUL in a link", member("l", tarfile.SYMTYPE, pax_headers={"linkpath": "a\0b"})),
        ("link to nothing", member("l", tarfile.SYMTYPE, linkname="")),
        ("link beyond the limit", member("l", tarfile.SYMTYPE, linkname="t" * 5000)),
        ("no name", member("")),
        ("the destination as a file", member(".", data=b"x")),
        ("the destination as a link", member("./", tarfile.SYMTYPE, linkname="/etc")),
        ("hard link of itself", member("f", data=b"x") + member("f", tarfile.LNKTYPE, linkname="f")),
        ("hard link of a directory", member("d", tarfile.DIRTYPE) + member("l", tarfile.LNKTYPE, linkname="d")),
        ("hard link of the host", member("l", tarfile.LNKTYPE, linkname="way-out/secret")),
        ("hard link of the host by its path", member("l", tarfile.LNKTYPE, linkname="/etc/passwd")),
        ("hard link through a new link", member("o", tarfile.SYMTYPE, linkname="../../outside")
            + member("l", tarfile.LNKTYPE, linkname="o/secret")),
        ("links in a circle", member("a", tarfile.SYMTYPE, linkname="b") + member("b", tarfile.SYMTYPE, linkname="a")
            + member("a/f", data=b"x")),
        ("link in the place of its directory", member("d/f", data=b"x") + member("d", tarfile.SYMTYPE, linkname="/")
            + member("d/outside/f", data=b"x") + member("d/secret", data=b"x")),
        ("a file on the way", member("f", data=b"x") + member("f/g", data=b"x")),
        ("device numbers beyond the limit", member("c", tarfile.CHRTYPE, devmajor=1 << 20, devminor=1 << 20)),
        ("unknown kind", raw({156: b"Z"})),
        ("attribute beyond the limit", member("f", pax_headers={"SCHILY.xattr.user." + "n" * 300: "v"})),
        ("attribute of overlayfs", member("d/", tarfile.DIRTYPE, pax_headers=OPAQUE)),
        ("attribute of a user's overlayfs", member("d/", tarfile.DIRTYPE, pax_headers=USER_OPAQUE)),
        ("sparse map beyond its file", member("f", data=b"1\n5\n99999999999999\n".ljust(512, b"\0"), pax_headers={
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "10"})),
        ("endless sparse map", member("f", data=b"9" * 512, pax_headers={
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "10"})),
        ("sparse file of 8 EiB", member("f", data=b"0\n".ljust(512, b"\0"), pax_headers={
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s",
            "GNU.sparse.realsize": str((1 << 63) - 1)})),
        ("through links of the image", member("way-out/f", data=b"x") + member("up/outside/f", data=b"x")
            + member(f"host{'/tmp' * 3}/f", data=b"x") + member("way-out", data=b"x")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_entries_that_lie(add: Add, what: str, data: bytes) -> None:
    """The good entry behind is not reached, or made: either way nothing but an error of ours comes of it."""
    add(data + member("good", data=b"x") + END)
    add(member("before", data=b"x") + data + END)


def test_whiteouts_are_names(add: Add, tmp_path: Path) -> None:
    """They delete nothing here; that no layer can hold such a name is said when it is made."""
    (tmp_path / "image/x/keep").write_text("kept")
    assert add(member(".wh.keep") + member(".wh..wh..opq") + END) == ""
    assert (tmp_path / "image/x/keep").read_text() == "kept"


def test_a_thousand_links_deep(add: Add) -> None:
    data = b"".join(member(f"l{number}", tarfile.SYMTYPE, linkname=f"l{number + 1}") for number in range(1000))
    assert "too many links" in add(data + member("l0/f", data=b"x") + END)


def test_in_several_forms(add: Add, tmp_path: Path) -> None:
    """GNU's, POSIX's and the old one of the same tree; a sparse file of each."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for name in ("plain", "d" * 90 + "/" + "n" * 90):
                info = tarfile.TarInfo(f"{form}/{name}")
                info.size = 3
                tar.addfile(info, io.BytesIO(b"abc"))
        assert add(file.getvalue()) == ""
        assert (tmp_path / f"image/x/{form}" / ("d" * 90) / ("n" * 90)).read_bytes() == b"abc"
    source = tmp_path / "sparse"
    with open(source, "wb") as sparse:
        sparse.truncate(5 << 20)
        sparse.seek(3 << 20)
        sparse.write(b"data")
    for form in ("gnu", "pax", "oldgnu"):
        command = ["tar", "-C", str(tmp_path), f"--format={form}", "-S", "-cf", "-", "sparse"]
        assert add(subprocess.run(command, check=True, capture_output=True).stdout) == ""
        copied = tmp_path / "image/x/sparse"
        assert copied.read_bytes() == source.read_bytes()
        assert copied.stat().st_blocks * 512 < 1 << 20
        copied.unlink()
