"""The log of a container: lines of ``time stream F|P text``, the format of Kubernetes' CRI, written by conmon.

Bytes are kept as they came, whatever their encoding. ``P`` marks a part of a line whose rest follows. It is read from
any end, across its older files, and followed.
"""

from __future__ import annotations

import os
import time

from cais.container import log_files
from cais.container.log_files import LogFile
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TAIL_BLOCK_BYTES = 1 << 16


class LogLine(NamedTuple):
    """``stream`` is ``stdout`` or ``stderr``; ``text`` has its newline where it had one. ``time`` is RFC 3339."""

    time: str
    stream: str
    text: bytes


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits of fraction: such times sort as text."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09}Z"


def normalised(stamp: str) -> str:
    """A stamp as ``timestamp`` makes it; conmon writes the host's zone."""
    if len(stamp) == 30 and stamp.endswith("Z"):
        return stamp
    if len(stamp) == 35 and stamp.endswith("+00:00"):
        return stamp[:29] + "Z"
    from datetime import UTC, datetime

    whole, _, rest = stamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] or "Z"
    try:
        moment = datetime.fromisoformat(whole.removesuffix("Z") + ("+00:00" if zone == "Z" else zone)).astimezone(UTC)
    except ValueError:
        return stamp
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{digits[:9]:0<9}Z"


def lines(
    path: str,
    *,
    follow: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: str = "",
    until: str = "",
) -> Iterator[LogLine]:
    """The lines of a log. ``since`` and ``until`` are stamps as ``timestamp`` makes them, or "".

    ``follow`` and ``tail``: see ``blocks``.
    """
    for block in blocks(path, follow=follow, tail=tail):
        for line in block.split(b"\n"):
            parsed = _parse(line)
            if parsed is None or (since and parsed.time < since):
                continue
            if until and parsed.time > until:
                return
            yield parsed


def texts(
    path: str, *, follow: Callable[[], bool] | None = None, tail: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """What was written, as (stream, bytes): as much at once as stands together. See ``blocks``."""
    from cais.container.log_text import texts_of

    for block in blocks(path, follow=follow, tail=tail):
        yield from texts_of(block)


def blocks(path: str, *, follow: Callable[[], bool] | None = None, tail: int | None = None) -> Iterator[bytes]:
    """The raw lines of a log, its older files first: whole lines, about 64 KiB at a time.

    ``tail``: only so many of the last lines. ``follow`` waits for more, and says False when no more will come; with it
    this goes on until then, over whatever is renamed meanwhile.
    """
    files = log_files.opened(path)
    try:
        index, offset, skip = (0, 0, 0) if tail is None else _tail_start(files, tail)
        rest = b""
        for piece in _pieces(path, files, index, offset, follow):
            data = rest + piece
            cut = data.rfind(b"\n") + 1
            block, rest = data[:cut], data[cut:]
            if skip:
                skip, block = _without(block, skip)
            if block:
                yield block
    finally:
        log_files.close(files)


def _pieces(
    path: str, files: list[LogFile], index: int, offset: int, follow: Callable[[], bool] | None
) -> Iterator[bytes]:
    """The bytes of ``files`` and what comes after them; from now on ``files`` are those that are open."""
    runs = follow is not None
    while True:
        for number, file in enumerate(files[index:]):
            yield from log_files.pieces(file, 0 if number else offset)
        if follow is None:
            return
        if files and log_files.is_current(files[-1].descriptor, path):
            index, offset = len(files) - 1, log_files.position(files[-1])
        else:
            newer = log_files.opened(path)
            if files:
                # Renamed, with what was written to it until then.
                yield from log_files.rest(files[-1])
                newer = log_files.after(newer, files[-1])
            if newer:
                log_files.close(files)
                files[:] = newer
                index = offset = 0
                continue
            index = len(files)
        if not runs:
            return
        runs = follow()


def _parse(line: bytes) -> LogLine | None:
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"F", b"P"):
        return None
    text = parts[3] if parts[2] == b"P" else parts[3] + b"\n"
    return LogLine(normalised(parts[0].decode("ascii", "replace")), parts[1].decode(), text)


def _is_end(line: bytes) -> bool:
    """Whether a raw line is the end of one that was written: not one of its parts before it."""
    return line.split(b" ", 3)[2:3] == [b"F"]


def _without(block: bytes, count: int) -> tuple[int, bytes]:
    """Leaves out the first ``count`` lines; how many are still to be left out after ``block``."""
    position = 0
    while count and position < len(block):
        end = block.find(b"\n", position) + 1
        count -= _is_end(block[position:end])
        position = end
    return count, block[position:]


def _tail_start(files: Sequence[LogFile], count: int) -> tuple[int, int, int]:
    """Where the last ``count`` lines begin: which file, at which byte, and how many lines to leave out from there."""
    if not files:
        return 0, 0, 0
    plain = next((index for index in range(len(files), 0, -1) if files[index - 1].packed), 0)
    sizes = [file.size_bytes for file in files[plain:]]
    offset = _tail_offset(files[plain:], sum(sizes), count)
    if offset >= 0:
        for index, size in enumerate(sizes):
            if offset < size or index == len(sizes) - 1:
                return plain + index, offset, 0
            offset -= size
    if not plain:
        return 0, 0, 0
    # Compressed files cannot be read from their end: all is counted.
    total, rest = 0, b""
    for file in files:
        for piece in log_files.pieces(file):
            *whole, rest = (rest + piece).split(b"\n")
            total += sum(map(_is_end, whole))
    return 0, 0, max(total - count, 0)


def _tail_offset(files: Sequence[LogFile], end: int, count: int) -> int:
    """Where the last ``count`` lines begin in ``files`` as one; -1 where there are not more.

    Parts belong to the line that follows them.
    """
    if count <= 0:
        return end
    offset = start = end
    found = 0
    rest = b""
    while offset:
        step = min(_TAIL_BLOCK_BYTES, offset)
        offset -= step
        data = _read_at(files, offset, step) + rest
        # Up to the first newline it may be the end of a line whose start is not read yet.
        first = 0 if offset == 0 else data.find(b"\n") + 1
        if offset and not first:
            rest = data
            continue
        rest = data[:first]
        for line in reversed(data[first:].splitlines(keepends=True)):
            if found == 0 or _is_end(line):
                found += 1
                if found > count:
                    return start
            start -= len(line)
    return -1


def _read_at(files: Sequence[LogFile], offset: int, count: int) -> bytes:
    data = b""
    for file in files:
        if offset < file.size_bytes and len(data) < count:
            data += os.pread(file.descriptor, min(count - len(data), file.size_bytes - offset), offset)
            offset = file.size_bytes
        offset -= file.size_bytes
    return data
