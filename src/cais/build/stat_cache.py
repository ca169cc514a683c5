"""The stat cache of a context: what each file's content was when its lstat said what it says now.

Two files, either of which may be missing or broken, which only costs time:

- ``<name>.selections``: pairs of 32 bytes, the digest of all lstats of a selection and that of its content, oldest
  first. A tree where nothing changed is answered from here, and nothing else is read.
- ``<name>.files``: a record for each directory (its listing and its entries' digests), and an index at the end.

A file that was changed less than two seconds before the scan, or "after" it (a clock set back), may change again
without a trace in its lstat: its digest is kept as zeros and made anew the next time, as git does.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import struct
from collections.abc import Iterable, Iterator

RACY_NANOSECONDS = 2_000_000_000
UNKNOWN = bytes(32)
_MAGIC = b"caisctx2"
_FOOTER = struct.Struct("<QQ32s8s")
_RECORD = struct.Struct("<II")
_SELECTIONS_KEPT = 256
# A directory that no build has asked for in so many saves is forgotten.
_SAVES_KEPT = 16
_MAX_BYTES = 1 << 30
_FILES_KEPT = 200


class StatCache:
    """``directory`` is made when there is something to write; nothing is written unless ``writes``. Nothing here raises
    for what the disk says."""

    def __init__(self, directory: str, tree_path: str | bytes) -> None:
        name = hashlib.sha256(os.fsencode(os.path.realpath(tree_path))).hexdigest()[:32]
        self._directory = directory
        self._path = os.path.join(directory, name)
        self._file: int = -2  # not looked for yet
        self._index: dict[str, tuple[int, int, int]] = {}
        self._save = 0
        self.writes = True

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -2

    def content_of(self, status_digest: bytes) -> bytes | None:
        """The content digest of a whole selection, by the digest of its lstats."""
        data = _read(f"{self._path}.selections", _SELECTIONS_KEPT * 128)
        for position in range(len(data) // 64 * 64 - 64, -1, -64):
            if data.startswith(status_digest, position):
                return data[position + 32 : position + 64]
        return None

    def keep_content(self, status_digest: bytes, content: bytes) -> None:
        path = f"{self._path}.selections"
        data = _read(path, _SELECTIONS_KEPT * 128)
        data = data[: len(data) // 64 * 64] + status_digest + content
        self._write(path, [data[-_SELECTIONS_KEPT * 64 :]])

    def directory(self, path: str) -> tuple[bytes, bytes] | None:
        """The listing and the digests that were kept for ``path``."""
        self._open()
        place = self._index.get(path)
        if place is None:
            return None
        data = self._record(place)
        if data is None:
            return None
        length = _RECORD.unpack_from(data)[0]
        return data[8 : 8 + length], data[8 + length :]

    def save(self, started: int, listings: Iterable[tuple[str, bytes]], digests: Iterable[bytes]) -> None:
        """Keeps the digests of each listing's entries, and what was there of other paths. ``started``: the scan, ns."""
        self.close()
        self._open()
        self._write(f"{self._path}.files", self._pieces(started - RACY_NANOSECONDS, listings, digests))
        self.close()

    def _pieces(self, limit: int, listings: Iterable[tuple[str, bytes]], digests: Iterable[bytes]) -> Iterator[bytes]:
        import zlib

        number = self._save + 1
        index: dict[str, tuple[int, int, int]] = {}
        position = len(_MAGIC)
        yield _MAGIC
        for (path, listing), known in zip(listings, digests, strict=True):
            trusted = _trusted(listing, known, limit)
            body = _RECORD.pack(len(listing), zlib.crc32(trusted, zlib.crc32(listing))) + listing + trusted
            index[path] = (position, len(body), number)
            position += len(body)
            yield body
        for path, place in self._index.items():
            if path in index or number - place[2] > _SAVES_KEPT or position > _MAX_BYTES:
                continue
            data = self._record(place)
            if data is not None:
                index[path] = (position, len(data), place[2])
                position += len(data)
                yield data
        table = marshal.dumps((number, index))
        yield table
        yield _FOOTER.pack(position, len(table), hashlib.sha256(table).digest(), _MAGIC)

    def _open(self) -> None:
        if self._file != -2:
            return
        self._file, self._index, self._save = -1, {}, 0
        try:
            self._file = os.open(f"{self._path}.files", os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(self._file).st_size
            footer = os.pread(self._file, _FOOTER.size, max(0, size - _FOOTER.size))
            if len(footer) < _FOOTER.size:
                return
            position, length, digest, magic = _FOOTER.unpack(footer)
            if magic != _MAGIC or position + length + _FOOTER.size != size:
                return
            table = os.pread(self._file, length, position)
            if hashlib.sha256(table).digest() == digest:
                self._save, self._index = marshal.loads(table)
        except OSError:
            return

    def _record(self, place: tuple[int, int, int]) -> bytes | None:
        try:
            data = os.pread(self._file, place[1], place[0])
        except OSError:
            return None
        import zlib

        if len(data) != place[1] or zlib.crc32(data[8:]) != _RECORD.unpack_from(data)[1]:
            return None
        return data

    def _write(self, path: str, pieces: Iterable[bytes]) -> None:
        if not self.writes:
            return
        from cais.host.files import random_name, write_all

        temporary = f"{path}.{random_name(6)}"
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                for piece in pieces:
                    write_all(descriptor, piece)
            finally:
                os.close(descriptor)
            new = not os.path.exists(path)
            os.rename(temporary, path)
            if new:
                self._forget_oldest()
        except OSError:
            # A cache that cannot be written (a full disk) is none.
            try:
                os.unlink(temporary)
            except OSError:
                pass

    def _forget_oldest(self) -> None:
        """Contexts come and go: only the files of those that were built last are kept."""
        with os.scandir(self._directory) as found:
            files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in found if entry.is_file())
        for _, path in files[:-_FILES_KEPT]:
            os.unlink(path)


def is_trusted(modified: int, changed: int, limit: int) -> bool:
    return modified < limit and changed < limit


def _trusted(listing: bytes, digests: bytes, limit: int) -> bytes:
    """``digests`` with those made zero that a later change might not show."""
    entries = marshal.loads(listing)
    if all(entry[3] < limit and entry[4] < limit for entry in entries):
        return digests
    kept = bytearray(digests)
    for number, entry in enumerate(entries):
        if not is_trusted(entry[3], entry[4], limit):
            kept[number * 32 : number * 32 + 32] = UNKNOWN
    return bytes(kept)


def _read(path: str, limit_bytes: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, limit_bytes)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
