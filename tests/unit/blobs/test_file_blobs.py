"""Large uploads to files: past the kernel's cache where that can be, and the same bytes in any case."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cais.blobs import files
from cais.blobs.files import FileBlobs
from cais.errors import Unavailable
from cais.spec.digest import Digest

UPLOAD = "6f1c8a52000040008000000000000001"
MIB = 1 << 20


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each write past the cache has written; here all from the first MiB on go there."""
    monkeypatch.setattr(files, "_LARGE_BYTES", MIB)
    written: list[int] = []
    write = os.pwrite

    def counted(descriptor: int, data: memoryview, offset: int) -> int:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
        written.append(write(descriptor, data, offset))
        return written[-1]

    monkeypatch.setattr(os, "pwrite", counted)
    return written


def pages(size: int) -> memoryview:
    """Random bytes that begin with a page, as the door hands them over."""
    view = memoryview(mmap.mmap(-1, size))
    view[:] = os.urandom(size)
    return view


def stored(blobs: FileBlobs, portions: Sequence[bytes | memoryview]) -> bytes:
    """What is read of a blob that was written in these portions."""
    data = b"".join(portions)
    writer = blobs.append(UPLOAD, [], 0)
    for portion in portions:
        writer.write([portion])
    writer.commit()
    location = writer.finish(Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"))
    writer.close()
    found = b"".join(blobs.read(location, 0, len(data)))
    assert blobs.size(location) == len(data)
    blobs.remove(location)
    return found


def test_whole_blocks_of_a_large_upload_go_past_the_cache(tmp_path: Path, direct: list[int]) -> None:
    portions = [pages(MIB), pages(2 * MIB), pages(2 * MIB + 4096 + 17)]
    assert stored(FileBlobs(str(tmp_path)), portions) == b"".join(portions)
    assert direct == [2 * MIB, 2 * MIB + 4096]


@pytest.mark.parametrize(
    "portions",
    [
        lambda: [pages(MIB + 1), pages(2 * MIB)],
        lambda: [pages(MIB), pages(MIB // 4 - 4096)],
    ],
    ids=["not at a block", "few"],
)
def test_what_is_not_of_whole_blocks_does_not(
    tmp_path: Path, direct: list[int], portions: Callable[[], list[memoryview]]
) -> None:
    given = portions()
    assert stored(FileBlobs(str(tmp_path)), given) == b"".join(given)
    assert direct == []


def test_memory_that_the_disk_cannot_read_from_is_copied(tmp_path: Path, direct: list[int]) -> None:
    portions = [pages(MIB), pages(2 * MIB + 1)[1:], pages(2 * MIB)]
    assert stored(FileBlobs(str(tmp_path)), portions) == b"".join(portions)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def test_a_file_system_that_has_nothing_but_the_cache(in_memory: Path, direct: list[int]) -> None:
    portions = [pages(MIB), pages(2 * MIB), pages(MIB)]
    assert stored(FileBlobs(str(in_memory)), portions) == b"".join(portions)


def test_a_full_disk_in_the_middle_of_it(tmp_path: Path, direct: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a portion, or none of it; and the upload goes on when there is room again."""
    blobs = FileBlobs(str(tmp_path))
    first, second, tail = pages(MIB), pages(2 * MIB), b"tail"
    writer = blobs.append(UPLOAD, [], 0)
    writer.write([first])
    with monkeypatch.context() as patched:
        write = os.pwrite

        def half(descriptor: int, data: memoryview, offset: int) -> int:
            return write(descriptor, data[:MIB], offset)

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(os, "pwrite", half)
        patched.setattr(os, "pwritev", full)
        with pytest.raises(Unavailable):
            writer.write([second])
    assert (tmp_path / "uploads" / UPLOAD).stat().st_size == MIB
    writer.write([second])
    writer.write([tail])
    data = bytes(first) + bytes(second) + tail
    location = writer.finish(Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"))
    writer.close()
    assert b"".join(blobs.read(location, 0, len(data))) == data
