"""Tar headers: the same entry gives the same bytes on every machine.

ustar (POSIX.1-1988) where it fits, a PAX extended header (POSIX.1-2001, "x") before it where it does not. Names are
bytes: what is not UTF-8 goes out as it is, as GNU tar and Go's archive/tar write it, and read it. No names of users are
written.
"""

from __future__ import annotations

import zlib

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cais.host.tar_reader import TarReader

BLOCK_BYTES = 512
KINDS = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "directory": b"5",
    "fifo": b"6",
}
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777
_ZEROS = bytes(BLOCK_BYTES)
_NO_XATTRS: dict[bytes, bytes] = {}


class TarEntry(NamedTuple):
    """One entry. ``kind`` is one of ``KINDS``; a directory's name may end with "/", and is written so.

    ``mtime`` in whole seconds since 1970, may be negative. ``size_bytes`` is that of the content, of "file" only.
    ``link_target`` is for "symlink" and "hardlink", ``device`` (major, minor) for "char" and "block".
    """

    name: bytes
    kind: str = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size_bytes: int = 0
    link_target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = _NO_XATTRS
    source: TarReader | None = None

    def data(self) -> Iterator[bytes]:
        """The content of an entry that a reader gave: once, before the next entry is asked for. Else nothing."""
        return iter(()) if self.source is None else self.source.data()


def header(entry: TarEntry) -> bytes:
    """The header block of ``entry``, with the PAX blocks that it needs. Raises Invalid for what no tar can say."""
    name, kind, mode, uid, gid, mtime, size, link, device, xattrs, _ = entry
    if kind == "directory" and name[-1:] != b"/":
        name += b"/"
    if kind != "file":
        size = 0
    if (
        len(name) <= 100
        and len(link) <= 100
        and 0 <= uid <= _OCTAL_7
        and 0 <= gid <= _OCTAL_7
        and 0 <= mtime <= _OCTAL_11
        and size <= _OCTAL_11
        and not xattrs
        and b"\0" not in name
        and b"\0" not in link
        and max(device) <= _OCTAL_7
    ):
        return _block(name, b"", KINDS[kind], mode, uid, gid, mtime, size, link, device)
    return _with_pax(entry._replace(name=name, size_bytes=size))


def padding(size_bytes: int) -> bytes:
    """What follows content of ``size_bytes``, to the next block."""
    return _ZEROS[: -size_bytes % BLOCK_BYTES]


def trailer() -> bytes:
    """The end of the archive: two zero blocks."""
    return bytes(2 * BLOCK_BYTES)


def plain_header(name: str, size_bytes: int) -> bytes:
    """The header of a member of an archive that is no file system: of root, of 1970. "name/" is a directory."""
    if name.endswith("/"):
        return header(TarEntry(name.encode(), "directory", 0o755))
    return header(TarEntry(name.encode(), size_bytes=size_bytes))


def _block(
    name: bytes,
    prefix: bytes,
    type_flag: bytes,
    mode: int,
    uid: int,
    gid: int,
    mtime: int,
    size: int,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    start = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode & 0o7777, uid, gid, size, mtime)
    if prefix or device != (0, 0) or type_flag in b"34":
        rest = b"ustar\x0000".ljust(72, b"\0") + b"%07o\0%07o\0%s" % (*device, prefix.ljust(167, b"\0"))
        rest = b"%s%s%s" % (type_flag, link.ljust(100, b"\0"), rest)
    else:
        rest = b"%s%s%s" % (type_flag, link.ljust(100, b"\0"), _MAGIC_AND_NOTHING)
    # Adler's low half, begun with 0, is the sum modulo 65521 in a tenth of the time; 256 is the sum of 8 spaces. With
    # 257 bytes that are not zero, or more, the sum may be larger than the modulus.
    if start.count(0) + rest.count(0) >= 512 - 8 - 256:
        checksum = (zlib.adler32(rest, zlib.adler32(start, 0)) & 0xFFFF) + 256
    else:
        checksum = sum(start) + sum(rest) + 256
    return b"%s%06o\0 %s" % (start, checksum, rest)


_MAGIC_AND_NOTHING = b"ustar\x0000".ljust(72, b"\0") + b"0000000\x000000000\0" + bytes(167)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """ustar's (prefix, name) of a name longer than 100 bytes, or None."""
    if len(name) <= 100:
        return b"", name
    if len(name) > 256:
        return None
    at = name.rfind(b"/", 0, min(156, len(name) - 1))
    if at <= 0 or len(name) - at - 1 > 100:
        return None
    return name[:at], name[at + 1 :]


def _with_pax(entry: TarEntry) -> bytes:
    records: list[tuple[bytes, bytes]] = []
    name, link = entry.name, entry.link_target
    if b"\0" in name or b"\0" in link:
        raise Invalid(f"the name {name!r} has a zero byte: no archive can hold it")
    if max(entry.device) > _OCTAL_7 or min(entry.device) < 0:
        raise Invalid(f"the device number {entry.device} of {name!r} is out of range")
    split = _split(name)
    if split is None:
        records.append((b"path", name))
        split = b"", name[:99].rstrip(b"/") + (b"/" if entry.kind == "directory" else b"")
    if len(link) > 100:
        records.append((b"linkpath", link))
        link = link[:100]
    if any(not _is_utf8(value) for _, value in records):
        records.insert(0, (b"hdrcharset", b"BINARY"))  # libarchive refuses such names without it; others pass over it
    numbers = {}
    for field, number, largest in (
        ("size", entry.size_bytes, _OCTAL_11),
        ("uid", entry.uid, _OCTAL_7),
        ("gid", entry.gid, _OCTAL_7),
        ("mtime", entry.mtime, _OCTAL_11),
    ):
        if 0 <= number <= largest:
            numbers[field] = number
        else:
            numbers[field] = 0
            records.append((field.encode(), b"%d" % number))
    for key, value in sorted(entry.xattrs.items()):
        if b"=" in key:
            raise Invalid(f"the extended attribute {key!r} of {name!r} has a name with '=': no archive can hold it")
        records.append((b"SCHILY.xattr." + key, value))
    parts = []
    if records:
        data = b"".join(_record(key, value) for key, value in records)
        # Readers take these from the entry itself; the name only shows where PAX is not understood.
        shown = b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
        parts += [_block(shown, b"", b"x", 0o644, 0, 0, 0, len(data), b"", (0, 0)), data, padding(len(data))]
    parts.append(
        _block(
            split[1],
            split[0],
            KINDS[entry.kind],
            entry.mode,
            numbers["uid"],
            numbers["gid"],
            numbers["mtime"],
            numbers["size"],
            link,
            entry.device,
        )
    )
    return b"".join(parts)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
