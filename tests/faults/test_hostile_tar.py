"""Archives that want to write elsewhere, fill the disk or the memory, or are damaged: a clear error, none outside."""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

import cais
from cais.errors import CaisError, Corrupt, Invalid
from cais.host.compression import decompressed
from cais.host.tar_writer import TarEntry, header, padding, trailer
from cais.snapshot.apply import apply

SOURCE = os.path.dirname(os.path.dirname(cais.__file__))
STYLES = ["overlay-trusted", "overlay-user", "merged", "plain"] if os.geteuid() == 0 else ["merged", "plain"]


def tar(*entries: TarEntry | tuple[TarEntry, bytes]) -> bytes:
    parts = []
    for one in entries:
        entry, data = (one, b"") if isinstance(one, TarEntry) else one
        parts += [header(entry._replace(size_bytes=len(data))), data, padding(len(data))]
    return b"".join([*parts, trailer()])


def link(name: bytes, target: bytes) -> TarEntry:
    return TarEntry(name, "symlink", 0o777, link_target=target)


def hard(name: bytes, target: bytes) -> TarEntry:
    return TarEntry(name, "hardlink", link_target=target)


def evil(name: bytes) -> tuple[TarEntry, bytes]:
    return TarEntry(name, uid=os.geteuid(), gid=os.getegid()), b"evil"


class Place:
    """A target with things around it that must not change."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.target = at / "a" / "target"
        self.target.mkdir(parents=True)
        (at / "victim").write_text("precious")
        (at / "a" / "victim").write_text("precious")
        (at / "a" / "dir").mkdir()
        (at / "a" / "dir" / "victim").write_text("precious")
        self.before = self.outside()

    def outside(self) -> dict[str, tuple[object, ...]]:
        found = {}
        for path in [self.at, *self.at.rglob("*")]:
            if self.target not in path.parents and path != self.target:
                status = path.lstat()
                found[str(path)] = (
                    status.st_mode,
                    status.st_uid,
                    status.st_nlink,
                    status.st_mtime_ns if path != self.target.parent else 0,
                    path.read_bytes() if path.is_file() else b"",
                )
        return found

    def apply(self, data: bytes, style: str, **options: object) -> None:
        apply(iter([data]), str(self.target), style=style, owners=os.geteuid() == 0, **options)  # type: ignore[arg-type]

    def check(self) -> None:
        assert self.outside() == self.before


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.check()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "name",
    [
        b"../victim",
        b"..",
        b"a/../../victim",
        b"/../victim",
        b"./../victim",
        b"x/..",
        b"d/../../dir/victim",
        b"../" * 50 + b"x",
    ],
)
@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_names_that_go_up(place: Place, style: str, name: bytes, kind: str) -> None:
    with pytest.raises(Invalid, match=r"'\.\.' in a name"):
        place.apply(tar(TarEntry(name, kind, link_target=b"x" if kind == "symlink" else b"")), style)


@pytest.mark.parametrize("style", STYLES)
def test_absolute_names_are_of_the_target(place: Place, style: str) -> None:
    inside = os.fsencode(place.at / "victim")
    place.apply(tar(evil(inside), evil(b"//victim"), evil(b"/./a//victim")), style)
    assert (place.target / os.fsdecode(inside[1:])).read_bytes() == b"evil"
    assert (place.target / "a" / "victim").read_bytes() == b"evil"


@pytest.mark.parametrize("style", STYLES)
def test_symbolic_links_out(place: Place, style: str) -> None:
    there = os.fsencode(place.at)
    entries = [
        link(b"abs", there),
        evil(b"abs/victim"),
        evil(b"abs/a/dir/victim"),
        link(b"up", b"../.."),
        evil(b"up/victim"),
        link(b"deep/er/up", b"../../../../../../.." + there),
        evil(b"deep/er/up/victim"),
        link(b"process", b"/proc/self/root" + there),
        evil(b"process/victim"),
        link(b"cwd", b"/proc/self/cwd"),
        evil(b"cwd/victim"),
        link(b"one", b"two"),
        link(b"two", there + b"/a"),
        evil(b"one/victim"),
        link(b"file", there + b"/victim"),
        evil(b"file"),
        TarEntry(b"abs/made", "directory", 0o777),
        TarEntry(b"up", "directory", 0o777),
        evil(b"up/victim"),
        TarEntry(b"one/fifo", "fifo"),
        hard(b"one/hard", b"file"),
    ]
    place.apply(tar(*entries), style)
    place.check()
    assert (place.target / "file").read_bytes() == b"evil"
    assert not (place.target / "file").is_symlink()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([hard(b"x", b"../victim")], "'..' in a name"),
        ([hard(b"x", b"/../../victim")], "'..' in a name"),
        ([hard(b"x", b"missing")], "which is not there"),
        ([hard(b"x", b"missing/deeper")], "which is not there"),
        ([hard(b"x", b"x")], "itself|not there"),
        ([evil(b"x"), hard(b"x", b"x")], "itself"),
        ([evil(b"x"), hard(b"x", b"./x")], "itself"),
        ([hard(b"x", b"")], "not there"),
        ([hard(b"x", b"/")], "not there"),
        ([TarEntry(b"d", "directory"), hard(b"x", b"d")], "points at the directory"),
        ([evil(b"f"), hard(b"x", b"f/y")], "not there"),
        ([link(b"x", b"y"), link(b"y", b"x"), evil(b"x/f")], "too many symbolic links"),
        ([link(b"x", b"x/x"), evil(b"x/f")], "too many symbolic links"),
        ([link(b"x", b"")], "no usable target"),
        ([evil(b"n" * 256)], "too long"),
        ([evil(b"d/" + b"n" * 256 + b"/f")], "too long"),
        ([evil(b"a/" * 20_000 + b"f")], "limit is"),
        ([link(b"x", b"t" * 5000)], "too long"),
        ([TarEntry(b"x", "char", device=(5000, 0))], "impossible number"),
        ([TarEntry(b"x", "char", device=(0, 0))], "0:0"),
        ([TarEntry(b"x", mtime=2**80)], "not a number|impossible time"),
    ],
)
def test_what_no_layer_may_hold(place: Place, style: str, entries: list[TarEntry], says: str) -> None:
    with pytest.raises((Invalid, Corrupt), match=says):
        place.apply(tar(*entries), style)


@pytest.mark.parametrize("style", [style for style in STYLES if style != "plain"])
@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh...", b"d/.wh."])
def test_deletions_of_no_name(place: Place, style: str, name: bytes) -> None:
    with pytest.raises(Invalid, match="deletes no possible name"):
        place.apply(tar(TarEntry(b"d", "directory"), TarEntry(name)), style)


@pytest.mark.parametrize("style", [style for style in STYLES if style != "plain"])
def test_deletions_through_links_out(place: Place, style: str) -> None:
    there = os.fsencode(place.at)
    for target in (there, b"../..", b"/proc/self/root" + there):
        for name in (b"x/.wh.victim", b"x/.wh..wh..opq", b"x/a/.wh.dir", b"x/a/dir/.wh..wh..opq"):
            place.apply(tar(link(b"x", target), TarEntry(name)), style)
            place.check()


@pytest.mark.parametrize("style", ["merged", "plain"])
def test_links_out_that_the_tree_has_already(place: Place, style: str) -> None:
    (place.target / "dir").symlink_to(place.at / "a" / "dir")
    (place.target / "file").symlink_to(place.at / "victim")
    os.link(place.at / "a" / "victim", place.target / "linked")
    place.before = place.outside()
    place.apply(tar(evil(b"dir/victim"), evil(b"file"), TarEntry(b"dir", "directory", 0o777)), style)
    place.check()
    place.apply(tar(evil(b"linked")), style)
    assert (place.at / "a" / "victim").read_text() == "precious"
    place.before = place.outside()


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
def test_devices_are_noted_where_they_may_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(
        tar(TarEntry(b"null", "char", device=(1, 3)), evil(b"after"), TarEntry(b"p", "fifo"))
    )
    (tmp_path / "target").mkdir()
    code = """if True:
        import sys
        from cais.snapshot.apply import apply
        print(apply(iter([open(sys.argv[1], "rb").read()]), sys.argv[2], style="overlay-user").notes)
    """
    done = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", code, str(tmp_path / "layer.tar"), str(tmp_path / "target")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert "the device 'null' was left out" in done.stdout
    assert sorted(os.listdir(tmp_path / "target")) == ["after", "p"]


@pytest.mark.parametrize("style", STYLES)
def test_bombs_stop_at_the_limit(place: Place, style: str) -> None:
    big = header(TarEntry(b"zeros", size_bytes=1 << 30))

    def zeros() -> Iterator[bytes]:
        yield big
        while True:
            yield bytes(1 << 20)

    with pytest.raises(Invalid, match="more than 5000000 bytes"):
        apply(zeros(), str(place.target), style=style, owners=False, limit_bytes=5_000_000)
    small = io.BytesIO()
    with gzip.GzipFile(fileobj=small, mode="wb") as file:
        for _ in range(40):
            file.write(bytes(1 << 20))
    for bomb in (small.getvalue(), zstandard.ZstdCompressor().compress(bytes(40 << 20))):
        with pytest.raises(Invalid, match="more than 1000000 bytes"):
            list(decompressed(iter([bomb]), limit_bytes=1_000_000))


def sample() -> bytes:
    """Every kind of header, and content."""
    long = b"/".join([b"l" * 90] * 3)
    capability = {b"security.capability": b"\1\0\0\2\0\4\0\0" + bytes(12)}
    ours = tar(
        TarEntry(b"d", "directory", 0o755),
        (TarEntry(b"d/f", xattrs=capability), b"content" * 90),
        (TarEntry(long), b"long"),
        link(b"d/s", b"f"),
        link(b"d/out", b"../../../victim"),
        hard(b"d/h", b"d/f"),
        TarEntry(b"d/.wh.gone"),
        TarEntry(b"d/e/.wh..wh..opq"),
        TarEntry(b"p", "fifo"),
    )[:-1024]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("/".join(["g" * 100] * 3))
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    return ours + out.getvalue()


def mended(data: bytearray) -> None:
    """Checksums made right again, so that what is behind them is reached."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])


@pytest.mark.parametrize("style", STYLES)
def test_damage_gives_our_errors_only_and_stays_inside(tmp_path: Path, style: str) -> None:
    place = Place(tmp_path)
    rng = random.Random(style)
    good = sample()
    outcomes = {"fine": 0, "error": 0}
    for case in range(250):
        data = bytearray(good)
        if case % 5 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.randrange(1, 3)):
            if data:
                at = rng.randrange(len(data))
                data[at] = rng.choice([data[at] ^ 1 << rng.randrange(8), 0, 0x2E, 0x2F, 0x80, 0xFF, rng.randrange(256)])
        if case % 2:
            mended(data)
        place.target = tmp_path / "a" / "target" / str(case)
        place.target.mkdir(mode=0o755)
        pieces = (bytes(data[at : at + 700]) for at in range(0, len(data), 700))
        try:
            apply(pieces, str(place.target), style=style, owners=False, limit_bytes=50_000_000)
            outcomes["fine"] += 1
        except CaisError as error:
            assert error.message
            outcomes["error"] += 1
    place.target = tmp_path / "a" / "target"
    place.check()
    assert outcomes["error"] > 50
    assert outcomes["fine"] > 20


def test_damage_under_compression(tmp_path: Path) -> None:
    rng = random.Random(5)
    good = sample() + rng.randbytes(0)
    for case, packed in enumerate(
        [gzip.compress(good), zstandard.ZstdCompressor(write_checksum=True).compress(good)] * 40
    ):
        data = bytearray(packed)
        if case % 3:
            data[rng.randrange(4, len(data))] ^= 1 << rng.randrange(8)
        else:
            del data[rng.randrange(5, len(data)) :]
        target = tmp_path / str(case)
        target.mkdir()
        try:
            apply(decompressed(iter([bytes(data)])), str(target), style="plain", owners=False)
        except CaisError:
            continue
        assert case % 3, "what is cut off is noticed"


def test_memory_and_threads_stay_bounded_for_any_size(tmp_path: Path) -> None:
    """Half a gigabyte of content and 30,000 entries through decompression and application, in a process of its own."""
    code = """if True:
        import sys, threading
        from cais.host.compression import compressed, decompressed
        from cais.host.tar_writer import TarEntry, header, trailer
        from cais.snapshot.apply import apply
        piece = b"content " * (1 << 17)
        def stream():
            for n in range(30000):
                yield header(TarEntry(b"d/%d" % n, "symlink", link_target=b"x"))
            yield header(TarEntry(b"big", size_bytes=512 << 20))
            for n in range(512):
                yield piece
            yield trailer()
        applied = apply(decompressed(compressed(stream(), "zstd")), sys.argv[1], style="overlay-user", owners=False)
        assert applied.entries == 30001, applied
        assert threading.active_count() == 1
        for line in open("/proc/self/status"):
            if line.startswith("VmHWM"):
                print(line.split()[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 << 10, "KiB of peak memory"
    (tmp_path / "big").unlink()
