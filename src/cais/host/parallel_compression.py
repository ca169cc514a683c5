"""Compression by several threads. The same bytes give the same result with one processor and with many.

gzip: a stream is cut into blocks of one length, each compressed on its own; they follow one another in one member
(RFC 1952), so that every reader of gzip reads it. zstd does the like itself.

Several layers are compressed at once, within the 100 MiB that a command may take: each has some 20 MiB here.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future

# Nothing is found again across its edge; with blocks of this size that is less than a thousandth of the result.
BLOCK_BYTES = 1 << 20
_MOST_THREADS = 4
# Deflate, no flags, no time, the fastest of methods, an unknown system: nothing that would tell where it was made.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# A last block with nothing in it (RFC 1951, 3.2.6): BFINAL, fixed codes, the end's code.
_LAST_BLOCK = b"\x03\x00"
_HIGHEST_OF_ISAL = 3
# Of a block, looked at to see whether it is worth compressing: what is compressed already, or encrypted, is not.
_SAMPLES, _SAMPLE_BYTES = 8, 2 << 10
_LEAST_GAIN = 0.01
_STORED_BYTES = 0xFFFF
_JOB_BYTES = 1 << 20
# Above it each thread's tables take tens of MiB.
_HIGHEST_BY_THREADS = 5
# Powers of two: what zstd's highest levels take beyond these makes a layer smaller by a hundredth.
_LARGEST_WINDOW, _LARGEST_TABLE = 22, 21
_CHUNK_BYTES = 256 << 10


def gzip_in_blocks(pieces: Iterator[bytes], level: int) -> Iterator[bytes]:
    """``pieces`` as one gzip member. ``level``: 0 to 9; above 3 it is zlib's, which is slow."""
    from isal import isal_zlib

    threads = _threads()
    check = size_bytes = 0
    waiting: deque[Future[tuple[bytes, ...]]] = deque()
    with ThreadPoolExecutor(threads, "gzip") as pool:
        try:
            yield _HEADER
            for block in _blocks(pieces):
                for piece in block:
                    check = isal_zlib.crc32(piece, check)
                    size_bytes += len(piece)
                waiting.append(pool.submit(_deflated, block, level))
                if len(waiting) > threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for block_made in waiting:
                block_made.cancel()
    yield _LAST_BLOCK + struct.pack("<II", check, size_bytes & 0xFFFFFFFF)


def _blocks(pieces: Iterator[bytes]) -> Iterator[list[memoryview]]:
    """What arrives, cut where a block ends; each a list of what it consists of."""
    block: list[memoryview] = []
    room_bytes = BLOCK_BYTES
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            block.append(rest[:room_bytes])
            room_bytes -= len(block[-1])
            rest = rest[len(block[-1]) :]
            if not room_bytes:
                yield block
                block, room_bytes = [], BLOCK_BYTES
    if block:
        yield block


def _deflated(block: list[memoryview], level: int) -> tuple[bytes, ...]:
    """It ends on a whole byte, and what follows does not look back into it (Z_FULL_FLUSH)."""
    from isal import isal_zlib

    # At once: isal's result depends on the portions it is given.
    content = block[0] if len(block) == 1 else memoryview(b"".join(block))
    is_fast = level <= _HIGHEST_OF_ISAL
    if is_fast and _is_dense(content):
        return (_stored(content),)
    compressor = (isal_zlib if is_fast else zlib).compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content), compressor.flush(zlib.Z_FULL_FLUSH)


def _is_dense(content: memoryview) -> bool:
    from isal import isal_zlib

    step = len(content) // _SAMPLES
    if step < _SAMPLE_BYTES:
        return False
    sample = b"".join(content[start : start + _SAMPLE_BYTES] for start in range(0, step * _SAMPLES, step))
    return len(isal_zlib.compress(sample, 1, -zlib.MAX_WBITS)) > len(sample) * (1 - _LEAST_GAIN)


def _stored(content: memoryview) -> bytes:
    """As it is (RFC 1951, 3.2.4): some six times as fast as finding that nothing can be gained."""
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(content), _STORED_BYTES):
        piece = content[start : start + _STORED_BYTES]
        pieces += struct.pack("<BHH", 0, len(piece), len(piece) ^ _STORED_BYTES), piece
    return b"".join(pieces)


def zstd_in_blocks(pieces: Iterator[bytes], level: int) -> Iterator[bytes]:
    """``pieces`` as one zstd frame. ``level``: 0 to 22."""
    import zstandard

    usual = zstandard.ZstdCompressionParameters.from_level(level)
    by_threads = {"threads": _threads(), "job_size": _JOB_BYTES} if level <= _HIGHEST_BY_THREADS else {}
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        window_log=min(usual.window_log, _LARGEST_WINDOW),
        chain_log=min(usual.chain_log, _LARGEST_TABLE),
        hash_log=min(usual.hash_log, _LARGEST_TABLE),
        write_checksum=True,
        **by_threads,
    )
    chunker = zstandard.ZstdCompressor(compression_params=parameters).chunker(chunk_size=_CHUNK_BYTES)
    for piece in pieces:
        yield from chunker.compress(piece)
    yield from chunker.finish()  # type: ignore[no-untyped-call]


def _threads() -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
