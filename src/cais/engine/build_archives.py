"""Contexts that come as archives: tar, plain or compressed, told by content as Docker's client does."""

from __future__ import annotations

from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_TAR_BLOCK_BYTES = 512
# What an archive may unpack to; a small one that holds more is taken for a bomb.
LIMIT_BYTES = 64 << 30
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


def start_of(stream: BinaryIO) -> bytes | None:
    """The first block, where it is an archive's; else None, and the stream is read that far."""
    start = read_start(stream)
    return start if is_archive(start) else None


def read_start(stream: BinaryIO) -> bytes:
    """The first block, of a pipe that gives it in parts, too."""
    start = b""
    while len(start) < _TAR_BLOCK_BYTES and (piece := stream.read(_TAR_BLOCK_BYTES - len(start))):
        start += piece
    return start


def is_archive(start: bytes) -> bool:
    """By the magic of a compression, or of a tar."""
    return start.startswith(_MAGIC) or start[257:262] == b"ustar"


def unpack(start: bytes, stream: BinaryIO, directory: str) -> int:
    """Unpacks into ``directory``, which it cannot leave; returns the bytes of its files. Raises Invalid, Corrupt."""
    from cais.host.compression import decompressed
    from cais.snapshot.apply import apply

    pieces = decompressed(_pieces(start, stream), "auto")
    return apply(pieces, directory, style="merged", owners=False, limit_bytes=LIMIT_BYTES).content_bytes


def _pieces(start: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield start
    while piece := stream.read(1 << 16):
        yield piece
