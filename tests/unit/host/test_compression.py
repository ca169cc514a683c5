from __future__ import annotations

import bz2
import gzip
import lzma
import random
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import zstandard

from cais.errors import Corrupt, Invalid
from cais.host.compression import compressed, decompressed, detect
from cais.host.parallel_compression import BLOCK_BYTES

DATA = b"".join(b"line %d of some text\n" % n for n in range(100_000)) + random.Random(1).randbytes(300_000)


def cut(data: bytes, size: int = 65536) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def zstd(data: bytes, **options: object) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)  # type: ignore[arg-type]


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": zstd,
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}


@cache
def made_of_data(kind: str) -> bytes:
    return KINDS[kind](DATA)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [7, 65536, 10**9])
def test_reads_every_kind_whatever_the_pieces(kind: str, size: int) -> None:
    made = made_of_data(kind) if size > 7 else KINDS[kind](DATA[:50_000])
    wanted = DATA if size > 7 else DATA[:50_000]
    assert detect(made[:6]) == kind
    assert b"".join(decompressed(cut(made, size))) == wanted
    assert b"".join(decompressed(cut(made, size), kind)) == wanted


def test_none_passes() -> None:
    assert b"".join(decompressed(cut(DATA))) == DATA
    assert list(decompressed(iter([]))) == []
    assert b"".join(decompressed(iter([b"a", b"b"]))) == b"ab"
    assert detect(b"") == "none"


@pytest.mark.parametrize("kind", KINDS)
def test_many_members_and_padding(kind: str) -> None:
    assert b"".join(decompressed(cut(made_of_data(kind) * 2))) == DATA * 2
    assert b"".join(decompressed(cut(made_of_data(kind) + b"\0" * 1024, 1000))) == DATA


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_after_the_end_is_corrupt(kind: str) -> None:
    with pytest.raises(Corrupt, match=kind):
        list(decompressed(cut(made_of_data(kind) + b"garbage, garbage, garbage and more of it")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9999])
def test_truncated_is_corrupt(kind: str, part: float) -> None:
    made = made_of_data(kind)
    with pytest.raises(Corrupt, match="truncated"):
        list(decompressed(cut(made[: int(len(made) * part)])))
    with pytest.raises(Corrupt, match="truncated"):
        list(decompressed(cut(made[:-1])))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_named_as_something_is_truncated(kind: str) -> None:
    with pytest.raises(Corrupt, match="truncated"):
        list(decompressed(iter([]), kind))


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_never_give_another_error(kind: str) -> None:
    rng = random.Random(2)
    made = bytearray({"zstd": zstd(DATA[:90_000], write_checksum=True)}.get(kind) or made_of_data(kind)[:40_000])
    failed = 0
    for _ in range(150):
        at = rng.randrange(len(made))
        made[at] ^= 1 << rng.randrange(8)
        try:
            list(decompressed(cut(bytes(made)), kind))
        except Corrupt:
            failed += 1
        # damage adds up
    assert failed > 140


def test_zstd_forms() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (70_000).to_bytes(4, "little") + b"x" * 70_000
    frames = [zstd(DATA, write_checksum=True), zstd(DATA, write_content_size=False), zstd(b""), zstd(b"a" * 10**6)]
    stream = skippable + skippable.join(frames) + skippable
    assert detect(stream[:6]) == "zstd"
    assert b"".join(decompressed(cut(stream))) == DATA * 2 + b"a" * 10**6
    streaming = zstandard.ZstdCompressor(level=1).compressobj()
    made = streaming.compress(DATA) + streaming.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + streaming.flush()
    assert b"".join(decompressed(cut(made))) == DATA


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_a_bomb_stops_at_the_limit_in_small_pieces(kind: str) -> None:
    zeros = b"\0" * (24 << 20)
    if kind == "gzip":
        bomb = gzip.compress(zeros, 9)
    elif kind == "zstd":
        bomb = zstd(zeros)
    elif kind == "bzip2":
        bomb = bz2.compress(zeros, 9)
    else:
        bomb = lzma.compress(zeros, preset=0)
    pieces: list[int] = []
    with pytest.raises(Invalid, match=r"more than 10000000 bytes"):
        pieces.extend(len(piece) for piece in decompressed(iter([bomb]), limit_bytes=10_000_000))
    assert sum(pieces) <= 10_000_000
    assert max(pieces) <= 1 << 21


@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
def test_compressed_is_deterministic_and_read_by_others(kind: str) -> None:
    first = b"".join(compressed(cut(DATA), kind))
    assert first == b"".join(compressed(cut(DATA), kind))
    assert b"".join(decompressed(cut(first))) == DATA
    if kind == "gzip":
        assert gzip.decompress(first) == DATA
        assert first[4:8] == b"\0\0\0\0", "no time is written"
        assert not first[3], "no name is written"
    elif kind == "zstd":
        assert zstandard.ZstdDecompressor().decompressobj().decompress(first) == DATA


@pytest.mark.parametrize("level", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 17])
def test_gzip_in_blocks_is_one_member_that_others_read(level: int, size: int) -> None:
    data = (DATA * 3)[:size]
    made = b"".join(compressed(cut(data, 100_000), "gzip", level))
    assert made == b"".join(compressed(cut(data, 999), "gzip", level)), "whatever the pieces"
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(made) == data
    assert reader.eof
    assert not reader.unused_data, "a second member"


@pytest.mark.parametrize("size", [16_385, 65_535, 65_536, BLOCK_BYTES, BLOCK_BYTES + 16_385])
def test_what_does_not_compress_is_stored(size: int) -> None:
    data = random.Random(2).randbytes(size)
    made = b"".join(compressed(cut(data), "gzip"))
    assert len(made) < size + 18 + 6 * (size // 65_535 + 2), "no larger than gzip's own frame"
    assert data[:1000] in made
    assert gzip.decompress(made) == data
    assert b"".join(decompressed(cut(made))) == data


def test_between_blocks_that_compress_others_are_stored() -> None:
    dense = random.Random(3).randbytes(BLOCK_BYTES)
    text = (b"some text, and more of it\n" * BLOCK_BYTES)[:BLOCK_BYTES]
    made = b"".join(compressed(cut(text + dense + text), "gzip"))
    assert len(made) < 1.02 * BLOCK_BYTES
    assert gzip.decompress(made) == text + dense + text
    assert zlib.decompress(made, wbits=31) == text + dense + text


def test_one_processor_makes_the_same_as_all() -> None:
    """In a process of its own, which may use one."""
    program = (
        "import hashlib, os, random, sys\n"
        "from cais.host.compression import compressed\n"
        "if sys.argv[1] == 'one': os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
        "data = [random.Random(n % 5).randbytes(70_001) for n in range(200)]\n"
        "for kind, level in [('gzip', 1), ('gzip', 6), ('zstd', 3), ('zstd', 9)]:\n"
        "    print(hashlib.sha256(b''.join(compressed(iter(data), kind, level))).hexdigest())\n"
    )
    one, every = (
        subprocess.run([sys.executable, "-c", program, how], check=True, capture_output=True, text=True).stdout
        for how in ("one", "every")
    )
    assert one == every
    assert len(set(one.split())) == 4


def test_unknown_kinds() -> None:
    with pytest.raises(Invalid, match="'brotli'"):
        list(compressed(iter([b""]), "brotli"))
    with pytest.raises(Invalid, match="'lz4'"):
        list(decompressed(iter([b""]), "lz4"))


def live() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.split("_")[0] in ("ahead", "gzip", "hash")]


def test_the_thread_ends_when_the_consumer_stops() -> None:
    closed = []

    def endless() -> Iterator[bytes]:
        try:
            yield made_of_data("gzip")
            while True:
                yield gzip.compress(b"more" * 1000)
        finally:
            closed.append(True)

    pieces = decompressed(endless())
    next(pieces)
    assert live()
    pieces.close()  # type: ignore[attr-defined]
    assert not live()
    with pytest.raises(ZeroDivisionError):
        for _ in (generator := decompressed(endless())):
            raise ZeroDivisionError
    generator.close()  # type: ignore[attr-defined]
    assert not live()


def test_what_the_source_raises_reaches_the_consumer() -> None:
    def broken() -> Iterator[bytes]:
        yield made_of_data("gzip")[:1000]
        raise Invalid("the source broke")

    with pytest.raises(Invalid, match="the source broke"):
        list(decompressed(broken()))
    assert not live()
