"""FileBlobs: blobs and uploads as files of one directory.

    uploads/ID                        what an upload has so far; locked while somebody writes to it
    blobs/ALGORITHM/AB/HEX.SUFFIX     a blob; the suffix makes the name one that was never used before

The upload is renamed when it is finished: its bytes are written once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from cais.errors import Conflict, Corrupt, NotFound, from_os_error
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cais.blobs.port import Location, Parts, Pieces

_PIECE_BYTES = 1 << 20
_SUFFIX_LENGTH = 16
_MOST_VECTORS = 1024  # IOV_MAX
# What an upload has from there on goes past the kernel's cache, in such pieces at least, and whole blocks of any disk.
_LARGE_BYTES = 32 << 20
_DIRECT_BYTES = 256 << 10
_BLOCK_BYTES = 4096
_FRESH_SECONDS = 60.0  # less than what any age is asked for


class FileBlobs:
    """The directories are made when it is opened. Several processes may use one directory."""

    is_near, least_chunk_bytes = True, 0

    def __init__(self, root: str) -> None:
        """Raises Denied, Unavailable."""
        self._uploads = os.path.join(root, "uploads")
        self._blobs = os.path.join(root, "blobs")
        usual = os.path.join(self._blobs, "sha256")
        try:
            for directory in (self._uploads, usual):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            if not os.path.exists(os.path.join(usual, "ff")):
                # All at once: one that is made for the first blob in it is one more that the blob waits for.
                for number in range(256):
                    os.makedirs(os.path.join(usual, f"{number:02x}"), mode=0o700, exist_ok=True)
                _sync_directory(usual)
        except OSError as error:
            raise from_os_error(error, f"make the registry's directory {root}") from None

    def append(self, upload: str, parts: Parts, offset_bytes: int) -> FileWriter:
        return FileWriter(self._uploads, self._blobs, upload, offset_bytes)

    def reread(self, upload: str, parts: Parts, offset_bytes: int) -> Iterator[bytes]:
        descriptor = _open(self._upload(upload), f"the upload {upload}")
        return _pieces(descriptor, 0, offset_bytes)

    def discard(self, upload: str, parts: Parts) -> None:
        _remove(self._upload(upload))

    def open_file(self, location: Location) -> int:
        return _open(self._file(location), "the blob")

    def read(self, location: Location, start: int, stop: int) -> Iterator[bytes]:
        return _pieces(self.open_file(location), start, stop)

    def link(self, location: Location, media_type: str) -> None:
        return None

    def size(self, location: Location) -> int:
        descriptor = self.open_file(location)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def name(self, location: Location) -> str:
        return str(location["file"])

    def adopt(self, path: str, digest: Digest) -> Location | None:
        name = _name(digest, os.urandom(16).hex())
        target = os.path.join(self._blobs, name)
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.link(path, target, follow_symlinks=False)
            os.utime(target)
            _sync_directory(os.path.dirname(target))
        except OSError:  # another file system, another's file
            _remove(target)
            return None
        return {"file": name}

    def remove(self, location: Location) -> None:
        _remove(self._file(location))

    def stored(self) -> Iterator[tuple[Location, int, float]]:
        for algorithm in _entries(self._blobs):
            for start in _entries(algorithm.path):
                for path, status in _files(start.path):
                    yield {"file": os.path.relpath(path, self._blobs)}, status.st_size, status.st_mtime

    def unfinished(self) -> Iterator[tuple[str, Parts, float]]:
        for path, status in _files(self._uploads):
            yield os.path.basename(path), [], status.st_mtime

    def answers(self) -> None:
        try:
            for directory in (self._uploads, self._blobs):
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise PermissionError(13, "Permission denied", directory)
        except OSError as error:
            raise from_os_error(error, "write to the registry's directory") from None

    def close(self) -> None:
        pass

    def _upload(self, upload: str) -> str:
        return os.path.join(self._uploads, upload)

    def _file(self, location: Location) -> str:
        return os.path.join(self._blobs, location["file"])


class FileWriter:
    """Holds the lock on the upload's file: a process that dies lets go of it."""

    def __init__(self, uploads: str, blobs: str, upload: str, offset_bytes: int) -> None:
        """Raises Conflict, Corrupt."""
        self._path, self._blobs, self._upload = os.path.join(uploads, upload), blobs, upload
        self._offset = offset_bytes
        self._refuses_direct = False
        self._descriptor = -1
        try:
            # Where bytes should be, a file without any must not be made: it would be nobody's.
            flags = os.O_RDWR | os.O_CLOEXEC | (0 if offset_bytes else os.O_CREAT)
            self._descriptor = os.open(self._path, flags, 0o600)
            size = _lock(self._descriptor, self._path)
        except Conflict:
            self.close()
            raise
        except FileNotFoundError:
            raise Corrupt(f"none of the upload's {offset_bytes} bytes are left") from None
        except OSError as error:
            self.close()
            raise from_os_error(error, "write to the upload") from None
        if size < offset_bytes:
            self.close()
            raise Corrupt(f"only {size} of the upload's {offset_bytes} bytes are left")
        self.is_first = size == offset_bytes

    def write(self, pieces: Pieces) -> None:
        start = self._offset
        try:
            rest = [memoryview(piece) for piece in pieces]
            if len(rest) == 1 and self._offset >= _LARGE_BYTES:
                rest = self._write_past_cache(rest[0])
            for first in range(0, len(rest), _MOST_VECTORS):
                views = rest[first : first + _MOST_VECTORS]
                while views:
                    written = os.pwritev(self._descriptor, views, self._offset)
                    self._offset += written
                    while views and written >= len(views[0]):
                        written -= len(views.pop(0))
                    if written:
                        views[0] = views[0][written:]
        except OSError as error:
            # All of them, or none: on a full disk that leaves room to note what was written before.
            self._offset = start
            os.ftruncate(self._descriptor, start)
            raise from_os_error(error, "write to the upload") from None

    def _write_past_cache(self, view: memoryview) -> list[memoryview]:
        """Writes whole blocks without a copy in the kernel's memory, which costs as much as hashing them, and would
        push out what is read more often. Returns what is left: file systems and blocks have their conditions."""
        whole = len(view) // _BLOCK_BYTES * _BLOCK_BYTES
        if whole < _DIRECT_BYTES or self._offset % _BLOCK_BYTES or self._refuses_direct:
            return [view]
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
            written = os.pwrite(self._descriptor, view[:whole], self._offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._refuses_direct = True
            written = 0
        finally:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags)
        self._offset += written
        return [view[written:]] if written < len(view) else []

    def commit(self) -> Parts:
        return []  # the kernel has the bytes: they outlive the process

    def finish(self, digest: Digest) -> Location:
        name = _name(digest, self._upload)
        target = os.path.join(self._blobs, name)
        try:
            status = os.fstat(self._descriptor)
            if status.st_size != self._offset:
                # What a writer that died has left behind the acknowledged bytes is not part of the blob.
                os.ftruncate(self._descriptor, self._offset)
            if abs(time.time() - status.st_mtime) > _FRESH_SECONDS:
                os.utime(self._descriptor)  # it is a blob from now on: its last byte may have come long ago
            _rename(self._path, target)
            os.fsync(self._descriptor)
            _sync_directory(os.path.dirname(target))
        except OSError as error:
            raise from_os_error(error, f"store the blob {digest}") from None
        return {"file": name}

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _name(digest: Digest, upload: str) -> str:
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}.{upload[:_SUFFIX_LENGTH]}"


def _open(path: str, what: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"{what} is not where it was stored") from None


def _lock(descriptor: int, path: str) -> int:
    """How many bytes it has from now on.

    Raises Conflict where another writer has it, or has just made it a blob: what is open is not an upload then.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        if os.path.samestat(status, os.stat(path)):
            return status.st_size
    except (BlockingIOError, FileNotFoundError):
        pass
    raise Conflict("another request is writing to this upload")


def _pieces(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    try:
        while start < stop:
            piece = os.pread(descriptor, min(_PIECE_BYTES, stop - start), start)
            if not piece:
                raise Corrupt(f"the file ends at byte {start}, not at {stop}")
            start += len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.rename(source, target)
        _sync_directory(os.path.dirname(os.path.dirname(target)))


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise from_os_error(error, "remove a blob's file") from None


def _files(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    for entry in _entries(directory):
        try:
            yield entry.path, entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # removed, or made a blob, since it was listed
            continue


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from entries
    except FileNotFoundError:
        pass
