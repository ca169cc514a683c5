"""Reading tar streams: v7, ustar, GNU (long names, base-256 numbers, sparse files) and PAX, from pieces of any size.

What is read is hostile: checksums are verified, and headers about headers are limited as in Go's archive/tar. No file
is held in memory; a sparse file's holes are not read, and given as zeros or, by ``extents``, not at all.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from cais.errors import Corrupt, Unsupported
from cais.host import tar_extensions as extensions
from cais.host.tar_extensions import number
from cais.host.tar_writer import TarEntry
from cais.spec.named import NamedTuple

EXTENSIONS_LIMIT_BYTES = 1 << 20
_EXTENTS_LIMIT = 1 << 17
_ZEROS = bytes(1 << 18)
_NO_XATTRS: dict[bytes, bytes] = {}
_KINDS = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "directory",
    b"D": "directory",
    b"6": "fifo",
}


class Extent(NamedTuple):
    """A part of a file's content, ``data``, at ``offset`` bytes from its start."""

    offset: int
    data: bytes | memoryview


class TarReader:
    """Iterates over the entries of an archive; ``entry.data()`` is read before the next one is asked for, or skipped.

    Raises Corrupt for what is no tar or ends early, Unsupported for entries of unknown types. An archive may end
    without its two zero blocks, as Go's writer's users leave it; ``ended`` says whether they were there.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._at = 0
        self._position = 0  # of the buffer's start, in the stream
        self._left = 0  # of the current entry's stored content
        self._padding = 0
        self._size = 0
        self._map: list[tuple[int, int]] | None = None  # of a sparse file: (offset, size) of what is stored
        self._global: dict[bytes, bytes] = {}
        self.ended = False

    def __iter__(self) -> Iterator[TarEntry]:
        while (entry := self._next()) is not None:
            yield entry

    def data(self) -> Iterator[bytes]:
        """The current entry's content. Holes are zeros."""
        at = 0
        for offset, data in self.extents():
            while at < offset:
                zeros = _ZEROS[: offset - at]
                at += len(zeros)
                yield zeros
            at += len(data)
            yield bytes(data)
        while at < self._size:
            zeros = _ZEROS[: self._size - at]
            at += len(zeros)
            yield zeros

    def extents(self) -> Iterator[Extent]:
        """The current entry's content without its holes, in ascending order."""
        if self._map is None:
            offset = self._size - self._left
            while self._left:
                piece = self._some(self._left)
                yield Extent(offset, piece)
                offset += len(piece)
            return
        for offset, size in self._map:
            while size:
                piece = self._some(size)
                yield Extent(offset, piece)
                offset += len(piece)
                size -= len(piece)

    def whole(self) -> memoryview | None:
        """The current entry's content where it is small and all here already, or has come in one go; else None."""
        size = self._left
        if self._map is not None or size > 1 << 16 or size != self._size:
            return None
        if len(self._buffer) - self._at < size:
            self._fill(size)
        at = self._at
        self._at = at + size
        self._left = 0
        return memoryview(self._buffer)[at : at + size]

    def drain(self) -> None:
        """Reads what stands behind the end of the archive: a digest of the stream is of all of it."""
        for piece in self._pieces:
            self._position += len(piece)

    def _fill(self, size: int) -> bool:
        """At least ``size`` bytes from ``_at`` on. False where the stream ends exactly there; raises Corrupt within."""
        rest = self._buffer[self._at :]
        parts = [rest]
        have = len(rest)
        self._position += self._at
        for piece in self._pieces:
            parts.append(piece)
            have += len(piece)
            if have >= size:
                break
        self._buffer = parts[1] if not rest and len(parts) == 2 else b"".join(parts)
        self._at = 0
        if have < size:
            if not have:
                return False
            raise Corrupt(
                f"the archive ends early, {self._position + have} bytes from its start: it is truncated"
                if self._position + have >= 512
                else "this is not a tar archive: it has less than 512 bytes"
            )
        return True

    def _some(self, largest: int) -> memoryview:
        """Between 1 and ``largest`` bytes of the current entry's content."""
        if self._at >= len(self._buffer):
            self._buffer = b""
            if not self._fill(1):
                raise Corrupt(f"the archive ends early, {self._position} bytes from its start: it is truncated")
        at = self._at
        end = min(at + largest, len(self._buffer))
        self._at = end
        self._left -= end - at
        return memoryview(self._buffer)[at:end]

    def _take(self, size: int) -> bytes:
        if len(self._buffer) - self._at < size and not self._fill(size) and size:
            raise Corrupt(f"the archive ends early, {self._position} bytes from its start: it is truncated")
        at = self._at
        self._at = at + size
        return self._buffer[at : at + size]

    def _skip(self) -> None:
        padding = self._padding
        left = self._left + padding
        self._left = self._padding = 0
        while left:
            have = len(self._buffer) - self._at
            if have >= left:
                self._at += left
                return
            left -= have
            self._at = len(self._buffer)
            if not self._fill(1):
                if left <= padding:
                    return  # umoci's layers end with their last byte of content
                raise Corrupt(f"the archive ends early, {self._position} bytes from its start: it is truncated")

    def _block(self) -> bytes | None:
        """The next header block; None at the end of the archive."""
        at = self._at
        if len(self._buffer) - at < 512:
            if not self._fill(512):
                return None
            at = 0
        block = self._buffer[at : at + 512]
        self._at = at + 512
        if block[0] == 0 and not block.strip(b"\0"):
            if len(self._buffer) - self._at < 512 and not self._fill(512):
                return None
            if self._buffer[self._at : self._at + 512].strip(b"\0"):
                raise Corrupt(f"a block of zeros stands in the archive, {self._position + at} bytes from its start")
            self._at += 512
            self.ended = True
            return None
        try:
            stored = int(block[148:156].strip(b" \0"), 8)
        except ValueError:
            stored = -1
        # Adler's low half, begun with 0, is the sum modulo 65521 at a tenth of the cost of sum().
        if (zlib.adler32(block[156:], zlib.adler32(block[:148], 0)) + 256 - stored) & 0xFFFF:
            self._verify(block, stored, self._position + at)
        return block

    def _verify(self, block: bytes, stored: int, position: int) -> None:
        fields = block[:148] + b" " * 8 + block[156:]
        signed = sum(byte - 256 if byte > 127 else byte for byte in fields)  # as some old systems summed
        if stored not in (sum(fields), signed):
            if position == 0:
                raise Corrupt("this is not a tar archive: its first block is not the header of an entry")
            raise Corrupt(f"the archive is corrupt {position} bytes from its start: wrong checksum of a header")

    def _extension(self, size: int, spent: int) -> bytes:
        if size < 0:
            raise Corrupt(f"the archive has an extended header of {size} bytes")
        if size + spent > EXTENSIONS_LIMIT_BYTES:
            raise Corrupt(f"an entry of the archive has extended headers of {size + spent} bytes: more than 1 MiB")
        data = self._take(size)
        self._take(-size % 512)
        return data

    def _next(self) -> TarEntry | None:
        if self._left or self._padding:
            self._skip()
        records: dict[bytes, bytes] = {}
        sparse_pairs: list[tuple[int, int]] = []
        long_name = long_link = b""
        spent = 0
        while True:
            block = self._block()
            if block is None:
                if spent:
                    raise Corrupt("the archive ends early, after an extended header: it is truncated")
                return None
            type_flag = block[156:157]
            if type_flag == b"V" and not spent:  # the volume's label
                continue
            if type_flag not in b"xgLKX":
                break
            data = self._extension(number(block[124:136], "size"), spent)
            spent += len(data) + 512
            if type_flag == b"L":
                long_name = data.partition(b"\0")[0]
            elif type_flag == b"K":
                long_link = data.partition(b"\0")[0]
            elif type_flag == b"g":
                self._global.update(extensions.records(data)[0])
                if sum(map(len, self._global.values())) > EXTENSIONS_LIMIT_BYTES:
                    raise Corrupt("the archive has global extended headers of more than 1 MiB")
            else:
                found, sparse_pairs = extensions.records(data)
                records.update(found)
        kind = _KINDS.get(type_flag)
        if kind is None:
            raise Unsupported(f"the archive has an entry of the type {type_flag!r}, which is not known")
        name = block[:100].partition(b"\0")[0]
        link = block[157:257].partition(b"\0")[0]
        uid, gid = number(block[108:116], "uid"), number(block[116:124], "gid")
        size, mtime = number(block[124:136], "size"), number(block[136:148], "mtime")
        is_ustar = block[257:263] == b"ustar\0"
        if is_ustar and block[345]:
            name = block[345:500].partition(b"\0")[0] + b"/" + name
        name, link = long_name or name, long_link or link
        xattrs = _NO_XATTRS
        if records or self._global:
            if self._global:
                records = {**self._global, **records}
            name, link = records.get(b"path") or name, records.get(b"linkpath") or link
            uid = extensions.integer(records, b"uid", uid)
            gid = extensions.integer(records, b"gid", gid)
            size = extensions.integer(records, b"size", size)
            mtime = extensions.seconds(records, mtime)
            xattrs = extensions.xattrs(records)
        if size < 0:
            raise Corrupt(f"the archive has an entry of {size} bytes")
        if kind == "file" and type_flag == b"\0" and name[-1:] == b"/":
            kind = "directory"  # as v7 says it
        stored = size if kind == "file" or type_flag == b"D" else 0
        self._map = None
        self._left, self._padding = stored, -stored % 512
        if type_flag == b"S":
            size = self._old_sparse(block)
        elif records and kind == "file" and any(key.startswith(b"GNU.sparse.") for key in records):
            name = records.get(b"GNU.sparse.name", name)
            size = self._pax_sparse(records, sparse_pairs, size)
        self._size = size if kind == "file" else 0
        if kind != "file":
            size = 0
        device = (0, 0)
        if kind == "char" or kind == "block":
            device = (number(block[329:337], "device number"), number(block[337:345], "device number"))
        mode = number(block[100:108], "mode") & 0o7777
        return TarEntry(name, kind, mode, uid, gid, mtime, size, link, device, xattrs, self)

    def _old_sparse(self, block: bytes) -> int:
        """GNU's old form: the map stands in the header and in blocks behind it. Returns the file's real size."""
        found = extensions.sparse_pairs(block[386:482], [])
        real_size = number(block[483:495], "size")
        more = block[482]
        while more:
            block = self._take(512)
            more = block[504]
            found = extensions.sparse_pairs(block[:504], found)
            if len(found) > _EXTENTS_LIMIT:
                raise Corrupt(f"the archive has a sparse file of more than {_EXTENTS_LIMIT} parts")
        self._use_map(found, real_size)
        return real_size

    def _pax_sparse(self, records: dict[bytes, bytes], pairs: list[tuple[int, int]], size: int) -> int:
        """GNU's forms 0.0, 0.1 and 1.0 in extended headers. Returns the file's real size."""
        real_size = extensions.integer(records, b"GNU.sparse.size", size)
        real_size = extensions.integer(records, b"GNU.sparse.realsize", real_size)
        if b"GNU.sparse.major" in records:
            if (records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
                raise Unsupported("the archive has a sparse file of an unknown version")
            pairs = self._map_in_data()
        elif b"GNU.sparse.map" in records:
            numbers = [extensions.decimal(part) for part in records[b"GNU.sparse.map"].split(b",")]
            pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
        self._use_map(pairs, real_size)
        return real_size

    def _map_in_data(self) -> list[tuple[int, int]]:
        numbers: list[int] = []
        line = b""
        wanted = 1
        while len(numbers) < wanted:
            if self._left < 512:
                raise Corrupt("the archive has a sparse file whose map is longer than its data")
            block = self._take(512)
            self._left -= 512
            *lines, line = (line + block).split(b"\n")
            numbers += [extensions.decimal(found) for found in lines[: wanted - len(numbers)]]
            if wanted == 1 and numbers:
                if numbers[0] > _EXTENTS_LIMIT:
                    raise Corrupt(f"the archive has a sparse file of more than {_EXTENTS_LIMIT} parts")
                wanted = 1 + 2 * numbers[0]
                numbers += [extensions.decimal(found) for found in lines[1:wanted]]
            if len(line) > 32 and len(numbers) < wanted:
                raise Corrupt("the archive has a sparse file with a broken map")
        return list(zip(numbers[1:wanted:2], numbers[2:wanted:2], strict=True))

    def _use_map(self, found: list[tuple[int, int]], real_size: int) -> None:
        end = 0
        for offset, size in found:
            if offset < end or size < 0:
                raise Corrupt("the archive has a sparse file whose parts overlap")
            end = offset + size
        if end > real_size or sum(size for _, size in found) != self._left:
            raise Corrupt("the archive has a sparse file whose parts are not what it stores")
        self._map = found
