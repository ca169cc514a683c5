from __future__ import annotations

import io
import tarfile

import pytest

from cais.errors import Invalid
from cais.host.tar_reader import TarReader
from cais.host.tar_writer import KINDS, TarEntry, header, padding, plain_header, trailer

LONG = b"/".join([b"x" * 60] * 5)


def test_a_plain_entry_is_one_ustar_block() -> None:
    made = header(TarEntry(b"etc/passwd", mode=0o4755, uid=1, gid=2, mtime=1700000000, size_bytes=5))
    assert len(made) == 512
    assert made[257:265] == b"ustar\x0000"
    assert made[:10] == b"etc/passwd"
    assert made[100:108] == b"0004755\0"
    assert made[265:329] == bytes(64), "names of users are not written"
    assert int(made[148:154], 8) == sum(made[:148]) + 8 * 32 + sum(made[156:])


def test_the_checksum_of_a_full_header() -> None:
    made = header(TarEntry(b"\xff" * 100, "symlink", 0o7777, 0o7777777, 0o7777777, 1, 0, b"\xff" * 100))
    assert int(made[148:154], 8) == sum(made[:148]) + 8 * 32 + sum(made[156:])


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        (TarEntry(b"n" * 100), 512),
        (TarEntry(b"d" * 99, "directory"), 512),
        (TarEntry(b"p" * 155 + b"/" + b"n" * 100), 512),
        (TarEntry(b"p" * 155 + b"/" + b"n" * 99, "directory"), 512),
        (TarEntry(b"n" * 101), 1536),
        (TarEntry(b"d" * 100, "directory"), 1536),
        (TarEntry(LONG), 1536),
        (TarEntry(LONG + b"\xff\n"), 1536),
        (TarEntry(b"a", "symlink", link_target=b"t" * 100), 512),
        (TarEntry(b"a", "symlink", link_target=b"t" * 101), 1536),
        (TarEntry(b"a", "hardlink", link_target=LONG * 20), 512 * 14),
        (TarEntry(b"\xff\xfe\n\x01"), 512),
        (TarEntry(b"a", uid=0o7777777, gid=0o7777777), 512),
        (TarEntry(b"a", uid=0o7777777 + 1, gid=2**32 - 2), 1536),
        (TarEntry(b"a", mtime=-1), 1536),
        (TarEntry(b"a", mtime=2**40), 1536),
        (TarEntry(b"a", "char", device=(1, 2**20 - 1)), 512),
        (TarEntry(b"a", "block", device=(4095, 3)), 512),
        (TarEntry(b"a", "fifo"), 512),
        (TarEntry(b"a", xattrs={b"user.b": b"\0=\n\xff", b"user.a": b""}), 1536),
    ],
)
def test_what_is_written_is_read(entry: TarEntry, size: int) -> None:
    made = header(entry)
    assert len(made) == size
    [found] = TarReader(iter([made + trailer()]))
    wanted = entry._replace(name=entry.name + b"/") if entry.kind == "directory" else entry
    assert found._replace(source=None) == wanted
    with tarfile.open(fileobj=io.BytesIO(made + trailer()), encoding="utf-8", errors="surrogateescape") as archive:
        [member] = archive.getmembers()
    assert member.name.encode(errors="surrogateescape") == entry.name
    assert member.linkname.encode(errors="surrogateescape") == entry.link_target
    assert (member.mode, member.uid, member.gid, member.mtime) == (entry.mode, entry.uid, entry.gid, entry.mtime)
    assert (member.devmajor, member.devminor) == entry.device


def test_a_size_that_octal_cannot_say() -> None:
    for size in (0o77777777777, 0o77777777777 + 1, 2**50):
        made = header(TarEntry(b"big", size_bytes=size))
        entry = next(iter(TarReader(iter([made]))))
        assert entry.size_bytes == size
        assert len(made) == (512 if size == 0o77777777777 else 1536)


def test_record_lengths_count_themselves() -> None:
    for length in range(80, 1100, 7):
        entry = TarEntry(b"a", xattrs={b"user.x": b"v" * length})
        [found] = TarReader(iter([header(entry) + trailer()]))
        assert found.xattrs == entry.xattrs


def test_every_kind_and_order_of_attributes() -> None:
    assert {header(TarEntry(b"a", kind))[156:157] for kind in KINDS} == set(KINDS.values())
    one = header(TarEntry(b"a", xattrs={b"user.a": b"1", b"user.b": b"2"}))
    assert one == header(TarEntry(b"a", xattrs={b"user.b": b"2", b"user.a": b"1"}))


@pytest.mark.parametrize(
    "entry",
    [
        TarEntry(b"a\0b"),
        TarEntry(b"a", "symlink", link_target=b"b\0c"),
        TarEntry(b"a", xattrs={b"user.a=b": b""}),
        TarEntry(b"a", "char", device=(2**30, 0)),
    ],
)
def test_what_no_tar_can_say(entry: TarEntry) -> None:
    with pytest.raises(Invalid):
        header(entry)


def test_padding_and_archives_of_documents() -> None:
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
    data = b"{}"
    stream = plain_header("blobs/", 0) + plain_header("index.json", 2) + data + padding(2) + trailer()
    reader = TarReader(iter([stream]))
    found = [(entry.name, entry.kind, entry.mode, b"".join(entry.data())) for entry in reader]
    assert found == [(b"blobs/", "directory", 0o755, b""), (b"index.json", "file", 0o644, b"{}")]
    assert reader.ended
