"""The readers' side of the log of events."""

from __future__ import annotations

import os

from cais.spec.encoding import decode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BLOCK_BYTES = 1 << 18


class Event(NamedTuple):
    """``time`` is in nanoseconds since 1970; ``kind`` is ``container``, ``image``, ``volume`` or ``network``."""

    time: int
    kind: str
    action: str
    id: str
    attributes: Mapping[str, str]


def read(path: str, since: int = 0, until: int = 0, wait: Callable[[], bool] | None = None) -> Iterator[Event]:
    """The events from ``since`` to ``until`` (nanoseconds, 0: no bound), the oldest first.

    ``wait`` returns when there may be more, or False when no more is wanted; without it the end of the log is the end.
    """
    for line in _lines(path, wait):
        event = _parsed(line, since)
        if event is not None and (not until or event.time <= until):
            yield event


def _parsed(line: bytes, since: int) -> Event | None:
    # The time is looked at first: parsing is what costs.
    digits = line[1:20]
    if line[:1] != b"[" or not digits.isdigit() or int(digits) < since:
        return None
    try:
        time, kind, action, id, attributes = decode(line)
        return Event(time, str(kind), str(action), str(id), {str(key): str(item) for key, item in attributes.items()})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _lines(path: str, wait: Callable[[], bool] | None) -> Iterator[bytes]:
    # What was read to its end stays open: its inode's number is given to no other file then.
    done = descriptor = -1
    wanted = wait is not None
    try:
        while True:
            descriptor = _next(path, done)
            rest = b""
            while descriptor >= 0:
                # Nobody writes to the older log any more: looked at before it is read to its end.
                is_older = not _is_same(path, descriptor)
                while piece := os.read(descriptor, _BLOCK_BYTES):
                    *lines, rest = (rest + piece).split(b"\n")
                    yield from lines
                if is_older:
                    break
                if not wanted:
                    return
                wanted = wait is not None and wait()
            if descriptor >= 0:
                if done >= 0:
                    os.close(done)
                done, descriptor = descriptor, -1
            elif not wanted:
                return
            else:
                wanted = wait is not None and wait()
    finally:
        for item in (done, descriptor):
            if item >= 0:
                os.close(item)


def _next(path: str, done: int) -> int:
    """The log that comes after ``done`` (-1: the oldest), or -1 where there is none yet."""
    older = f"{path}.1"
    while True:
        if not _is_same(older, done):
            descriptor = _opened(older)
            if descriptor >= 0:
                return descriptor
        descriptor = _opened(path)
        if descriptor < 0 or (_is_same(older, done) if done >= 0 else not os.path.exists(older)):
            return descriptor
        os.close(descriptor)  # a log came in between meanwhile


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _is_same(path: str, descriptor: int) -> bool:
    try:
        return descriptor >= 0 and os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
