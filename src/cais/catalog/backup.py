"""Backup and restore: all records as of one moment, and every blob that they name.

    DIRECTORY/registry.json                   what this is, and when it was made
             /records.jsonl.gz                one row a line, with its table
             /blobs/ALGORITHM/AB/HEX          the bytes, verified when they were written

Into a directory that has a backup only what is new is written, so it can be made every hour; what the registry has no
more is taken out at the end. It replaces the old records in one step: a backup that was interrupted is the old one.
The collector waits while a backup is made, because what the records name must be there until it is copied.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
import zlib

from cais.catalog.turns import without_collector
from cais.errors import CaisError, Corrupt, Invalid, NotFound, from_os_error
from cais.records import whole
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from cais.blobs.port import Blobs, Location
    from cais.records.database import Database

    class Readable(Protocol):
        def read(self, size: int, /) -> bytes | None: ...


FORMAT = 1
_ABOUT, _RECORDS, _BLOBS = "registry.json", "records.jsonl.gz", "blobs"
_WITH_BYTES = ("blobs", "repository_blobs")
_LINE_LIMIT_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20


class Saved(NamedTuple):
    """``copied`` blobs were written now, ``kept`` were there; ``lost`` are digests whose bytes the registry has not."""

    rows: int
    copied: int
    copied_bytes: int
    kept: int
    lost: tuple[str, ...]


class Restored(NamedTuple):
    """``lost`` are digests of blobs whose bytes the backup has not: their repositories do not have them either."""

    rows: int
    blobs: int
    blob_bytes: int
    lost: tuple[str, ...]


def backup(database: Database, store: Blobs, directory: str) -> Saved:
    """Writes or renews the backup in ``directory``. Raises Unavailable, Denied, Invalid."""
    try:
        os.makedirs(os.path.join(directory, _BLOBS), mode=0o700, exist_ok=True)
        if os.path.exists(os.path.join(directory, _ABOUT)):
            _about(directory)
        elif os.listdir(directory) != [_BLOBS]:
            raise Invalid(f"{directory} holds something else than a backup", hint="Name a new or empty directory.")
        with without_collector(database) as hold:
            return _Backup(store, directory, hold).write(database)
    except OSError as error:
        raise from_os_error(error, f"write the backup {directory}") from None


def restore(database: Database, store: Blobs, directory: str) -> Restored:
    """Fills an empty registry from a backup. The records come last, all at once: what is interrupted can be repeated.

    Raises Invalid (no backup), Conflict (the registry is not empty), Corrupt (bytes are not what they were),
    Unavailable.
    """
    _about(directory)
    records = os.path.join(directory, _RECORDS)
    with without_collector(database) as hold:
        database.write(lambda connection: whole.load(database, connection, []))  # is it empty?
        locations: dict[str, Location] = {}
        lost: list[str] = []
        size_bytes = 0
        for name, row in read_records(records):
            if name == "blobs":
                hold()
                digest = Digest.parse(row["digest"])
                try:
                    locations[digest] = store_file(store, _path(directory, digest), digest)
                    size_bytes += row["size_bytes"]
                except NotFound:
                    lost.append(digest)
        return Restored(load_records(database, records, locations), len(locations), size_bytes, tuple(lost))


def store_file(store: Blobs, path: str, digest: Digest) -> Location:
    """The bytes of a file as a new blob of the store; returns the location. Raises NotFound, Corrupt, Unavailable."""
    try:
        with open(path, "rb", buffering=0) as file:
            return store_bytes(store, file, digest)
    except OSError as error:
        raise from_os_error(error, f"read the blob {digest}") from None


def store_bytes(store: Blobs, source: Readable, digest: Digest) -> Location:
    """What ``source`` has as a new blob of the store. Raises Corrupt (it is not ``digest``), Unavailable."""
    upload, seen = os.urandom(16).hex(), hashlib.new(digest.algorithm)
    writer = store.append(upload, [], 0)
    try:
        while piece := source.read(_PIECE_BYTES):
            seen.update(piece)
            writer.write([piece])
        if seen.hexdigest() == digest.hex:
            return writer.finish(digest)
        store.discard(upload, writer.commit())
    finally:
        writer.close()
    raise Corrupt(f"the bytes of {digest} have changed")


def write_records(database: Database, path: str) -> int:
    """All rows as of now; how many they are. It takes no longer than writing them: blobs are copied afterwards."""
    count = 0
    with database.snapshot() as connection, gzip.open(path, "wb", compresslevel=5) as file:
        for name, row in whole.dump(connection):
            file.write(json.dumps([name, row], separators=(",", ":")).encode() + b"\n")
            count += 1
    _synced(path)
    return count


def read_records(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with the names of their tables. Raises Corrupt, NotFound, Denied."""
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(_LINE_LIMIT_BYTES):
                name, row = json.loads(line)
                yield name, row
    except (ValueError, TypeError, EOFError, gzip.BadGzipFile, zlib.error):
        raise Corrupt(f"the records of the backup are damaged ({path})") from None
    except OSError as error:
        raise from_os_error(error, f"read the records of the backup {path}") from None


def load_records(database: Database, path: str, locations: dict[str, Location]) -> int:
    """Puts the rows into an empty database, all or none, with the blobs where they are now; how many they are."""

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for name, row in read_records(path):
            if name in _WITH_BYTES:
                if row["digest"] not in locations:
                    continue
                if name == "blobs":
                    row["location"] = locations[row["digest"]]
            yield name, row

    return database.write(lambda connection: whole.load(database, connection, rows()))


class _Backup:
    def __init__(self, store: Blobs, directory: str, hold: Callable[[], None]) -> None:
        self._store, self._directory, self._hold = store, directory, hold
        self._copied = self._copied_bytes = self._kept = 0
        self._lost: list[str] = []

    def write(self, database: Database) -> Saved:
        records, moment = os.path.join(self._directory, _RECORDS), time.time()
        count = write_records(database, records + ".new")
        for name, row in read_records(records + ".new"):
            if name == "blobs":
                self._copy(row)
        os.replace(records + ".new", records)
        about = {"format": FORMAT, "made_unix": moment, "rows": count}
        with open(os.path.join(self._directory, _ABOUT + ".new"), "w", encoding="utf-8") as text:
            json.dump(about, text)
        os.replace(os.path.join(self._directory, _ABOUT + ".new"), os.path.join(self._directory, _ABOUT))
        _synced(self._directory)
        self._take_out()
        return Saved(count, self._copied, self._copied_bytes, self._kept, tuple(self._lost))

    def _copy(self, row: dict[str, Any]) -> None:
        digest, size = Digest.parse(row["digest"]), row["size_bytes"]
        path = _path(self._directory, digest)
        try:
            if os.stat(path).st_size == size:
                self._kept += 1
                return
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._hold()
        seen = hashlib.new(digest.algorithm)
        try:
            with open(path + ".new", "wb", buffering=0) as file:
                for piece in self._store.read(row["location"], 0, size):
                    seen.update(piece)
                    file.write(piece)
                os.fsync(file.fileno())
        except CaisError as error:
            if error.kind not in ("not_found", "corrupt"):
                raise
            seen = hashlib.new(digest.algorithm)
        if seen.hexdigest() != digest.hex:
            os.unlink(path + ".new")
            self._lost.append(digest)
            return
        os.replace(path + ".new", path)
        self._copied += 1
        self._copied_bytes += size

    def _take_out(self) -> None:
        """Removes files that no row of the new records names."""
        named = {
            row["digest"].replace(":", "/", 1)
            for name, row in read_records(os.path.join(self._directory, _RECORDS))
            if name == "blobs"
        }
        top = os.path.join(self._directory, _BLOBS)
        for directory, _, files in os.walk(top):
            algorithm = os.path.basename(os.path.dirname(directory))
            for name in files:
                if f"{algorithm}/{name}" not in named:
                    os.unlink(os.path.join(directory, name))


def _path(directory: str, digest: Digest) -> str:
    return os.path.join(directory, _BLOBS, digest.algorithm, digest.hex[:2], digest.hex)


def _about(directory: str) -> None:
    try:
        with open(os.path.join(directory, _ABOUT), "rb") as file:
            about = json.loads(file.read(1 << 16))
        version = about["format"]
    except (OSError, ValueError, TypeError, KeyError):
        raise Invalid(f"{directory} is no backup of a registry") from None
    if version != FORMAT:
        raise Invalid(f"the backup {directory} has the format {version}, and this version knows {FORMAT}")


def _synced(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
