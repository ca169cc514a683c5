"""The log of a container: lines of ``time stream F|P text``, the format of Kubernetes' CRI and of conmon.

Bytes are kept as they came, whatever their encoding. ``P`` marks a part of a line whose rest follows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from cais.host.files import write_all
from cais.spec.named import NamedTuple

_BLOCK_BYTES = 1 << 16
# A line without an end is cut here into parts, so that no reader has to hold more.
PART_BYTES = 1 << 14


class LogLine(NamedTuple):
    """``stream`` is ``stdout`` or ``stderr``; ``text`` has its newline where it had one. ``time`` is RFC 3339."""

    time: str
    stream: str
    text: bytes


class LogWriter:
    """Appends to one log; not for several threads."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, stream: bytes, data: bytes) -> None:
        """``stream`` is ``b"stdout"`` or ``b"stderr"``. One stamp holds for all lines of ``data``."""
        stamp = timestamp(time.time_ns()).encode()
        full = stamp + b" " + stream + b" F "
        head, newline, rest = data.rpartition(b"\n")
        lines = full + head.replace(b"\n", b"\n" + full) + b"\n" if newline else b""
        while rest:
            lines += stamp + b" " + stream + b" P " + rest[:PART_BYTES] + b"\n"
            rest = rest[PART_BYTES:]
        write_all(self._descriptor, lines)

    def close(self) -> None:
        os.close(self._descriptor)


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits of fraction: such times sort as text."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09}Z"


def normalised(stamp: str) -> str:
    """A stamp as ``timestamp`` writes it; conmon writes the host's zone."""
    if stamp.endswith("Z") and len(stamp) == 30:
        return stamp
    from datetime import UTC, datetime

    whole, _, rest = stamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] or "Z"
    try:
        moment = datetime.fromisoformat(whole.removesuffix("Z") + ("+00:00" if zone == "Z" else zone)).astimezone(UTC)
    except ValueError:
        return stamp
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{digits[:9]:0<9}Z"


def read(
    path: str,
    *,
    follow: Callable[[float], bool] | None = None,
    tail: int | None = None,
    since: str = "",
    until: str = "",
) -> Iterator[LogLine]:
    """The lines of a log. ``since`` and ``until`` are stamps as ``timestamp`` writes them, or "".

    ``follow(seconds)`` waits so long at most, and tells whether the container still runs; with it the lines go on until
    it has ended. ``tail``: only so many of the last lines.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if tail is not None:
            os.lseek(descriptor, _tail_offset(descriptor, tail), os.SEEK_SET)
        rest = b""
        runs = True
        while True:
            piece = os.read(descriptor, _BLOCK_BYTES)
            if piece:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    parsed = _parse(line)
                    if parsed is None or (since and parsed.time < since):
                        continue
                    if until and parsed.time > until:
                        return
                    yield parsed
            elif follow is None or not runs:
                return
            else:
                # Read once more after the end was seen: the last lines may have come with it.
                runs = follow(0.1)
    finally:
        os.close(descriptor)


def _parse(line: bytes) -> LogLine | None:
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"F", b"P"):
        return None
    text = parts[3] if parts[2] == b"P" else parts[3] + b"\n"
    return LogLine(normalised(parts[0].decode("ascii", "replace")), parts[1].decode(), text)


def _tail_offset(descriptor: int, count: int) -> int:
    """Where the last ``count`` whole lines begin; parts belong to the line that follows them."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if count <= 0:
        return end
    offset = start = end
    found = 0
    rest = b""
    while offset:
        step = min(_BLOCK_BYTES, offset)
        offset -= step
        data = os.pread(descriptor, step, offset) + rest
        # Up to the first newline it may be the end of a line whose start is not read yet.
        first = 0 if offset == 0 else data.find(b"\n") + 1
        if offset and not first:
            rest = data
            continue
        rest = data[:first]
        for line in reversed(data[first:].splitlines(keepends=True)):
            fields = line.split(b" ", 3)
            if found == 0 or (len(fields) > 2 and fields[2] == b"F"):
                found += 1
                if found > count:
                    return start
            start -= len(line)
    return 0
