"""Compression of streams: what arrives is recognised by its first bytes, and worked on in a thread of its own.

gzip by isal, zstd by zstandard, bzip2 and xz by the standard library; each imported when it is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cais.errors import Corrupt, Invalid
from cais.host.ahead import ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE_BYTES = 1 << 20
_MAGIC_BYTES = 6
_GZIP_WAITING = 2  # pieces of 1 MiB
KINDS = ("none", "gzip", "zstd", "bzip2", "xz")


def detect(first_bytes: bytes) -> str:
    """The kind of compression that a stream beginning with ``first_bytes`` (at least 6, if it has them) has."""
    if first_bytes[:2] == b"\x1f\x8b":
        return "gzip"
    if first_bytes[:4] == b"\x28\xb5\x2f\xfd" or (
        first_bytes[1:4] == b"\x2a\x4d\x18" and first_bytes[0] & 0xF0 == 0x50
    ):
        return "zstd"
    if first_bytes[:3] == b"BZh" and first_bytes[3:4].isdigit():
        return "bzip2"
    if first_bytes[:6] == b"\xfd7zXZ\x00":
        return "xz"
    return "none"


def decompressed(pieces: Iterator[bytes], kind: str = "auto", *, limit_bytes: int | None = None) -> Iterator[bytes]:
    """The content of a compressed stream, in pieces of at most about 1 MiB (those of "none" pass as they are).

    All members of a gzip stream and all frames of a zstd one are read. Raises Corrupt where the stream is broken or
    ends early, Invalid where more than ``limit_bytes`` come out.
    """
    if kind == "auto":
        kind, pieces = _peek(pieces)
    if kind == "none":
        return pieces if limit_bytes is None else _limited(pieces, limit_bytes)
    if kind == "zstd":
        content = _zstd_content(pieces)
    elif kind in KINDS:
        content = _members_content(pieces, kind)
    else:
        raise Invalid(f"unknown compression {kind!r}", hint=f"Known are: {', '.join(KINDS)}.")
    return ahead(content if limit_bytes is None else _limited(content, limit_bytes))


def compressed(pieces: Iterator[bytes], kind: str, level: int | None = None) -> Iterator[bytes]:
    """``pieces`` as one compressed stream. The same bytes give the same result: no name, no time is written.

    ``level``: gzip 0 to 9 (1; above 3 it is zlib's, which is slow), zstd 0 to 22 (3).
    """
    if kind == "none":
        return pieces
    if kind == "gzip":
        from cais.host.parallel_compression import gzip_in_blocks

        return ahead(gzip_in_blocks(pieces, 1 if level is None else level), _GZIP_WAITING)
    if kind == "zstd":
        from cais.host.parallel_compression import zstd_in_blocks

        return ahead(zstd_in_blocks(pieces, 3 if level is None else level))
    raise Invalid(f"cannot compress with {kind!r}", hint="Known are: none, gzip, zstd.")


def _peek(pieces: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= _MAGIC_BYTES:
            break
    return detect(first), _again(first, pieces)


def _again(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from pieces


def _limited(pieces: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit_bytes:
            raise Invalid(
                f"the stream has more than {limit_bytes} bytes of content, which is the limit",
                hint="A small file that unpacks to very much is refused: it fills the disk.",
            )
        yield piece


def _member_reader(kind: str) -> tuple[Callable[[], Any], Any]:
    """What makes a decompressor of one member, and what that raises."""
    if kind == "gzip":
        from isal import igzip_lib

        return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (igzip_lib.error, EOFError)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 27), (lzma.LZMAError, EOFError)


def _members_content(pieces: Iterator[bytes], kind: str) -> Iterator[bytes]:
    make, failures = _member_reader(kind)
    reader: Any = None
    members = 0
    for piece in pieces:
        data = piece
        while True:
            if reader is None:
                if members:
                    data = data.lstrip(b"\0")  # zeros after a member are padding, of tapes and block devices
                if not data:
                    break
                reader = make()
            try:
                content = reader.decompress(data, max_length=_PIECE_BYTES)
            except failures as error:
                raise Corrupt(f"the {kind} stream is corrupt: {error}")
            data = b""
            if content:
                yield content
            if reader.eof:
                data = reader.unused_data
                reader = None
                members += 1
            elif reader.needs_input:
                break
    if reader is not None or not members:
        raise Corrupt(f"the {kind} stream ends early: it is truncated")


def _zstd_content(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Block by block (RFC 8878, 3.1.1): a block gives 128 KiB at most, whatever a hostile stream claims, and the end of
    the last frame is known."""
    import zstandard

    source = _Exactly(pieces)
    waiting: list[bytes] = []
    size = 0
    begun = False
    try:
        while magic := source.read(4, or_end=begun):
            begun = True
            if magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50:
                source.skip(int.from_bytes(source.read(4), "little"))
                continue
            if magic != b"\x28\xb5\x2f\xfd":
                if not magic.strip(b"\0"):
                    continue
                raise Corrupt("the zstd stream is corrupt: what follows a frame is none")
            frame = zstandard.ZstdDecompressor().decompressobj()
            descriptor = source.read(1)
            flags = descriptor[0]
            single_segment = bool(flags & 0x20)
            rest = (
                (0 if single_segment else 1)
                + (0, 1, 2, 4)[flags & 3]
                + (1 if single_segment else 0, 2, 4, 8)[flags >> 6]
            )
            waiting.append(frame.decompress(magic + descriptor + source.read(rest)))
            last = False
            while not last:
                header = source.read(3)
                number = int.from_bytes(header, "little")
                last = bool(number & 1)
                block = source.read(1 if number & 6 == 2 else number >> 3)
                content = frame.decompress(header + block)
                if content:
                    waiting.append(content)
                    size += len(content)
                    if size >= _PIECE_BYTES:
                        yield b"".join(waiting)
                        waiting.clear()
                        size = 0
            if flags & 4:
                waiting.append(frame.decompress(source.read(4)))
            if not frame.eof:
                raise Corrupt("the zstd stream is corrupt: a frame does not end with its last block")
    except zstandard.ZstdError as error:
        raise Corrupt(f"the zstd stream is corrupt: {error}")
    if waiting:
        yield b"".join(waiting)


class _Exactly:
    """Reads exact numbers of bytes from pieces."""

    __slots__ = ("_at", "_buffer", "_pieces")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._at = 0

    def read(self, size: int, *, or_end: bool = False) -> bytes:
        """Raises Corrupt where fewer are left; ``or_end``: gives b"" where none are."""
        at = self._at
        if len(self._buffer) - at < size:
            parts = [self._buffer[at:]]
            have = len(parts[0])
            for piece in self._pieces:
                parts.append(piece)
                have += len(piece)
                if have >= size:
                    break
            self._buffer = b"".join(parts)
            self._at = at = 0
            if have < size:
                if or_end and not have:
                    return b""
                raise Corrupt("the zstd stream ends early: it is truncated")
        self._at = at + size
        return self._buffer[at : at + size]

    def skip(self, size: int) -> None:
        while size > 0:
            part = min(size, 1 << 16)
            self.read(part)
            size -= part
