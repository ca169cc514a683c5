from __future__ import annotations

import base64
import io
import tarfile
import tracemalloc
from collections.abc import Iterator

import pytest

from cais.errors import Corrupt, Unsupported
from cais.host.tar_reader import TarReader
from cais.host.tar_writer import TarEntry, header, padding, trailer


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def made(name: bytes = b"f", data: bytes = b"", **fields: object) -> bytes:
    entry = TarEntry(name, size_bytes=len(data))._replace(**fields)  # type: ignore[arg-type]
    return header(entry) + data + padding(len(data))


def block(**fields: bytes) -> bytes:
    """A header made by hand: fields by their offset, checksum right."""
    raw = bytearray(header(TarEntry(b"f")))
    for key, value in fields.items():
        at = int(key[1:])
        raw[at : at + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pax(records: bytes, type_flag: bytes = b"x") -> bytes:
    return block(f156=type_flag, f124=b"%011o\0" % len(records)) + records + padding(len(records))


def record(key: bytes, value: bytes) -> bytes:
    for length in range(5, 200):
        text = b"%d %s=%s\n" % (length, key, value)
        if len(text) == length:
            return text
    raise AssertionError


def entries(data: bytes, size: int = 1 << 20) -> list[tuple[TarEntry, bytes]]:
    return [(entry, b"".join(entry.data())) for entry in TarReader(cut(data, size))]


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 100_000])
def test_pieces_of_any_size(size: int) -> None:
    files = {b"a%d" % n: bytes([n]) * (n * 300) for n in range(12)}
    data = b"".join(made(name, content) for name, content in files.items()) + trailer()
    assert {entry.name: content for entry, content in entries(data, size)} == files
    reader = TarReader(cut(data, size))
    assert [entry.name for entry in reader] == list(files), "content that is not read is skipped"
    assert reader.ended
    for entry in (reader := TarReader(cut(data, size))):
        whole = reader.whole()
        assert whole is not None
        assert bytes(whole) == files[entry.name]


def test_half_read_content_is_skipped() -> None:
    data = made(b"a", b"x" * 5000) + made(b"b", b"y" * 10)
    reader = TarReader(cut(data, 100))
    first = next(iter(reader))
    assert next(first.data())
    assert next(iter(reader)).name == b"b"


def test_v7_directories_and_spaces_in_numbers() -> None:
    raw = block(f0=b"dir/\0", f156=b"\0", f257=bytes(255), f100=b"   755 \0", f108=b"     0 \0", f124=b"          0 ")
    [(entry, _)] = entries(raw)
    assert (entry.name, entry.kind, entry.mode) == (b"dir/", "directory", 0o755)


def test_base_256_numbers() -> None:
    big = (2**40).to_bytes(12, "big")
    raw = block(f124=b"\x80" + big[1:], f108=b"\x80" + (2**32 - 2).to_bytes(7, "big"), f136=b"\xff" * 12)
    entry = next(iter(TarReader(iter([raw]))))
    assert (entry.size_bytes, entry.uid, entry.mtime) == (2**40, 2**32 - 2, -1)


def test_numbers_that_fill_their_field() -> None:
    entry = next(iter(TarReader(iter([block(f124=b"123456712345", f108=b"12345671", f136=b"00000000012 ")]))))
    assert (entry.size_bytes, entry.uid, entry.mtime) == (0o123456712345, 0o12345671, 0o12)


def test_signed_checksums_of_old_systems() -> None:
    raw = bytearray(block(f0=b"\xe4\xf6\xfc"))
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in raw)
    assert entries(bytes(raw))[0][0].name == b"\xe4\xf6\xfc"


def test_pax_records_and_what_takes_them_back() -> None:
    glob = pax(record(b"uid", b"7") + record(b"mtime", b"5.9") + record(b"comment", b"x"), b"g")
    one = pax(record(b"path", b"long\xff\n") + record(b"mtime", b"-1.5") + record(b"gid", b"9"))
    data = glob + one + made() + made(b"g") + pax(record(b"uid", b"")) + made(b"h")
    found = [entry for entry, _ in entries(data)]
    assert [(entry.name, entry.uid, entry.gid, entry.mtime) for entry in found] == [
        (b"long\xff\n", 7, 9, -2),
        (b"g", 7, 0, 5),
        (b"h", 0, 0, 5),
    ]


def test_xattrs_of_star_and_libarchive() -> None:
    capability = b"\1\0\0\2\0\4\0\0"
    value = base64.b64encode(capability).rstrip(b"=")
    data = pax(record(b"SCHILY.xattr.user.a=b", b"c")[:0] + record(b"SCHILY.xattr.user.a", b"x=\n\0y")) + made()
    data += pax(record(b"LIBARCHIVE.xattr.security%2Ecapability", value)) + made(b"g")
    assert [entry.xattrs for entry, _ in entries(data)] == [
        {b"user.a": b"x=\n\0y"},
        {b"security.capability": capability},
    ]


def test_gnu_long_names() -> None:
    name, link = b"n" * 3000, b"t" * 400
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo(name.decode())
        member.type, member.linkname = tarfile.SYMTYPE, link.decode()
        archive.addfile(member)
    [(entry, _)] = entries(out.getvalue())
    assert (entry.name, entry.link_target) == (name, link)


def test_links_and_directories_have_no_content_whatever_they_say() -> None:
    data = block(f156=b"1", f157=b"target", f124=b"00000001000\0") + made(b"g", b"data") + trailer()
    assert [(entry.name, entry.size_bytes, content) for entry, content in entries(data)] == [
        (b"f", 0, b""),
        (b"g", 4, b"data"),
    ]


def test_an_archive_may_end_without_its_end() -> None:
    for end in (b"", bytes(512), bytes(1024), bytes(10240)):
        reader = TarReader(iter([made(b"a", b"data") + end]))
        assert len(list(reader)) == 1
        reader.drain()
        assert reader.ended == (len(end) >= 1024)
    assert list(TarReader(iter([]))) == []
    for size in (1112, 1500):  # umoci's layers end with the last byte of content
        assert entries(made(b"a", b"x" * 600)[:size])[0][1] == b"x" * 600


@pytest.mark.parametrize("form", ["0.0", "0.1", "1.0"])
def test_sparse_in_pax(form: str) -> None:
    parts = [(512, b"A" * 512), (5000, b"B" * 100), (9000, b"")]
    stored = b"".join(data for _, data in parts)
    records = record(b"GNU.sparse.name", b"real")
    if form == "1.0":
        text = b"3\n" + b"".join(b"%d\n%d\n" % (offset, len(data)) for offset, data in parts)
        stored = text.ljust(512, b"\0") + stored
        records += record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
        records += record(b"GNU.sparse.realsize", b"9000")
    elif form == "0.1":
        text = b",".join(b"%d,%d" % (offset, len(data)) for offset, data in parts)
        records += record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.map", text)
    else:
        records += record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.numblocks", b"3")
        for offset, data in parts:
            records += record(b"GNU.sparse.offset", b"%d" % offset) + record(b"GNU.sparse.numbytes", b"%d" % len(data))
    wanted = bytes(512) + b"A" * 512 + bytes(5000 - 1024) + b"B" * 100 + bytes(9000 - 5100)
    data = pax(records) + made(b"x", stored) + made(b"after", b"!") + trailer()
    for size in (1, 1 << 20):
        found = entries(data, size)
        assert [(entry.name, entry.size_bytes) for entry, _ in found] == [(b"real", 9000), (b"after", 1)]
        assert found[0][1] == wanted
        assert found[1][1] == b"!"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"hello", "not a tar archive"),
        (b"x" * 2000, "not a tar archive"),
        (b"\x7fELF" + bytes(5000), "not a tar archive"),
        (made(b"a", b"x" * 600)[:700], "truncated"),
        (made(b"a", b"x" * 600)[:1111], "truncated"),
        (made(b"a") + made(b"b")[:100], "truncated"),
        (pax(record(b"path", b"x")), "truncated"),
        (pax(record(b"path", b"x"))[:600], "truncated"),
        (made(b"a") + b"y" * 512, "wrong checksum"),
        (made(b"a") + bytes(512) + made(b"b"), "block of zeros"),
        (block(f124=b"0000000zzzz\0"), "not a number"),
        (block(f124=b"0000_000777\0"), "not a number"),
        (block(f124=b"\xff" * 12), "-1 bytes"),
        (pax(b"99 path=x\n") + made(), "broken record"),
        (pax(b"9 path=xyz\n") + made(), "broken record"),
        (pax(b"xx path=x\n") + made(), "not a number"),
        (pax(b"4 a\n") + made(), "broken record"),
        (pax(record(b"path", b"a\0b")) + made(), "zero byte"),
        (pax(record(b"size", b"-5")) + made(), "-5 bytes"),
        (pax(record(b"size", b"1e9")) + made(), "not a number"),
        (pax(record(b"uid", b"9" * 30)) + made(), "not a number"),
        (pax(record(b"mtime", b"1.x")) + made(), "not a time"),
        (pax(record(b"GNU.sparse.numbytes", b"1")) + made(), "broken map"),
        (
            pax(record(b"GNU.sparse.map", b"0,5,3,5") + record(b"GNU.sparse.size", b"9")) + made(b"a", b"x" * 10),
            "overlap",
        ),
        (pax(record(b"GNU.sparse.map", b"0,5") + record(b"GNU.sparse.size", b"9")) + made(b"a", b"x" * 10), "not what"),
        (
            pax(record(b"GNU.sparse.map", b"0,10") + record(b"GNU.sparse.size", b"9")) + made(b"a", b"x" * 10),
            "not what",
        ),
        (block(f156=b"x", f124=b"00010000000\0"), "more than 1 MiB"),
        (block(f156=b"x", f124=b"\xff" * 12) + made(), "-1 bytes"),
        (block(f156=b"L", f124=b"77777777777\0"), "more than 1 MiB"),
    ],
)
def test_what_is_broken_says_how(data: bytes, says: str) -> None:
    for size in (13, 1 << 20):
        with pytest.raises(Corrupt, match=says):
            entries(data, size)


def test_headers_about_headers_have_a_limit() -> None:
    with pytest.raises(Corrupt, match="more than 1 MiB"):
        entries(pax(record(b"comment", b"x" * 100) * 9) * 5000)
    with pytest.raises(Corrupt, match="more than 1 MiB"):
        entries(b"".join(pax(b"60000 %d=%s\n" % (n, b"x" * (60_000 - 11)), b"g") + made() for n in range(100, 130)))
    text = b"999999999\n".ljust(512, b"\0")
    sparse = pax(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0"))
    with pytest.raises(Corrupt, match="parts"):
        entries(sparse + made(b"a", text))


@pytest.mark.parametrize("type_flag", [b"M", b"Z", b"\xff"])
def test_unknown_types_are_refused_by_name(type_flag: bytes) -> None:
    with pytest.raises(Unsupported, match="type"):
        entries(block(f156=type_flag))


def test_many_volume_labels_are_no_recursion() -> None:
    data = block(f156=b"V") * 5000 + made(b"a") + trailer()
    assert [entry.name for entry, _ in entries(data)] == [b"a"]


def test_memory_stays_small_whatever_the_size() -> None:
    size = 300 << 20
    piece = bytes(1 << 20)

    def stream() -> Iterator[bytes]:
        yield header(TarEntry(b"big", size_bytes=size))
        for _ in range(size >> 20):
            yield piece
        yield trailer()

    tracemalloc.start()
    try:
        reader = TarReader(stream())
        total = sum(len(extent.data) for _ in reader for extent in reader.extents())
        for _ in TarReader(stream()):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak < 8 << 20
