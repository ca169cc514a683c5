"""The files of a log: ``log``, and the older ``log.1``, ``log.2`` ..., some compressed (``.gz``); one stream."""

from __future__ import annotations

import os
import time

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Larger ones do not stay in the processor's cache while they are taken apart, and are slower.
BLOCK_BYTES = 1 << 16

# So often a log that is renamed all the time is tried to be seen whole.
_ATTEMPTS = 200


class LogFile(NamedTuple):
    """An open file; ``packed``: it is compressed."""

    descriptor: int
    size_bytes: int
    packed: bool = False


def opened(path: str) -> list[LogFile]:
    """The oldest first, the last one is that which grows; empty where there is none. The caller closes them."""
    for attempt in range(_ATTEMPTS):
        files = {_identity(file): file for file in (_open(name) for _, name in _names(path)) if file is not None}
        # Whatever is renamed meanwhile keeps its inode: it is all of them, once each, or it is done again.
        ordered = [(number, identity) for number, name in _names(path) if (identity := _inode(name)) is not None]
        if {identity for _, identity in ordered} == files.keys() or attempt == _ATTEMPTS - 1:
            return [files[identity] for _, identity in ordered if identity in files]
        close(files.values())
        time.sleep(0.001)
    return []


def _names(path: str) -> list[tuple[int, str]]:
    """(number, path) of a log's files, the oldest first. One that is being compressed counts as it is."""
    directory, base = os.path.split(path)
    found: dict[int, str] = {}
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    for name in names:
        start, _, number = name.removesuffix(".gz").partition(".")
        if start != base or (number and not number.isdigit()) or (name.endswith(".gz") and not number):
            continue
        place = int(number or 0)
        if place not in found or not name.endswith(".gz"):
            found[place] = os.path.join(directory, name)
    return sorted(found.items(), reverse=True)


def _open(name: str) -> LogFile | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    return LogFile(descriptor, os.fstat(descriptor).st_size, name.endswith(".gz"))


def _identity(file: LogFile) -> int:
    return os.fstat(file.descriptor).st_ino


def _inode(name: str) -> int | None:
    try:
        return os.stat(name).st_ino
    except FileNotFoundError:
        return None


def close(files: Iterable[LogFile]) -> None:
    for file in files:
        os.close(file.descriptor)


def is_current(descriptor: int, path: str) -> bool:
    """Whether ``path`` is that file, still."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def pieces(file: LogFile, offset: int = 0) -> Iterator[bytes]:
    """Its bytes from ``offset`` on (from the beginning of a compressed one), 64 KiB at most at a time."""
    if not file.packed:
        os.lseek(file.descriptor, offset, os.SEEK_SET)
        while piece := os.read(file.descriptor, BLOCK_BYTES):
            yield piece
        return
    import zlib

    unpack = zlib.decompressobj(31)
    os.lseek(file.descriptor, 0, os.SEEK_SET)
    while packed := os.read(file.descriptor, BLOCK_BYTES):
        while packed:
            try:
                yield unpack.decompress(packed, BLOCK_BYTES)
            except zlib.error:
                return  # cut off by a crash: what came so far is all there is
            packed = unpack.unconsumed_tail


def rest(file: LogFile) -> Iterator[bytes]:
    """What was added since it was read to its end."""
    while piece := os.read(file.descriptor, BLOCK_BYTES):
        yield piece


def position(file: LogFile) -> int:
    """Up to where it was read; 0 where somebody has emptied it since."""
    place = os.lseek(file.descriptor, 0, os.SEEK_CUR)
    return place if place <= os.fstat(file.descriptor).st_size else 0


def after(files: Sequence[LogFile], last: LogFile) -> list[LogFile]:
    """Those of ``files`` that came after ``last``, which was the log once; the others are closed."""
    place = next((place for place, file in enumerate(files) if _identity(file) == _identity(last)), None)
    # Compressed or removed by now: what follows it is not known for certain, the current one does.
    place = len(files) - 2 if place is None else place
    close(files[: place + 1])
    return list(files[place + 1 :])
