"""A backup as one tar archive, written and read as a stream: blobs, then the records of the moment before them, and at
the end what this is. The members are those of a backup's directory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import time

from cais.catalog.backup import (
    FORMAT,
    Restored,
    Saved,
    load_records,
    read_records,
    store_bytes,
    write_records,
)
from cais.catalog.turns import without_collector
from cais.errors import CaisError, Corrupt, Invalid, NotFound, from_os_error
from cais.records import whole
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from cais.blobs.port import Blobs, Location
    from cais.records.database import Database

_ABOUT, _RECORDS, _BLOBS = "registry.json", "records.jsonl.gz", "blobs"
_ABOUT_LIMIT_BYTES = 64 << 20  # the digests of what was lost are in it


def backup_archive(database: Database, store: Blobs, target: IO[bytes]) -> Saved:
    """Writes a whole backup. Raises Unavailable, Denied."""
    copied = copied_bytes = 0
    lost: list[str] = []
    try:
        with (
            without_collector(database) as hold,
            tempfile.TemporaryDirectory(prefix="cais-backup-") as directory,
            tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            records, moment = os.path.join(directory, _RECORDS), time.time()
            count = write_records(database, records)
            for name, row in read_records(records):
                if name == "blobs":
                    hold()
                    if _add_blob(archive, store, row):
                        copied, copied_bytes = copied + 1, copied_bytes + row["size_bytes"]
                    else:
                        lost.append(row["digest"])
            archive.add(records, _RECORDS)
            about = json.dumps({"format": FORMAT, "made_unix": moment, "rows": count, "lost": lost}).encode()
            _add(archive, _ABOUT, io.BytesIO(about), len(about))
    except OSError as error:
        raise from_os_error(error, "write the backup") from None
    return Saved(count, copied, copied_bytes, 0, tuple(lost))


def restore_archive(database: Database, store: Blobs, source: IO[bytes]) -> Restored:
    """As ``backup.restore``. Raises Invalid, Conflict, Corrupt, Unavailable."""
    locations: dict[str, Location] = {}
    damaged: set[str] = set()
    size_bytes = 0
    about: dict[str, Any] | None = None
    try:
        with (
            without_collector(database) as hold,
            tempfile.TemporaryDirectory(prefix="cais-restore-") as directory,
            tarfile.open(fileobj=source, mode="r|") as archive,
        ):
            database.write(lambda connection: whole.load(database, connection, []))  # is it empty?
            records = os.path.join(directory, _RECORDS)
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is None:
                    continue
                if member.name == _ABOUT:
                    about = json.loads(file.read(_ABOUT_LIMIT_BYTES))
                elif member.name == _RECORDS:
                    with open(records, "wb") as copy:
                        while piece := file.read(1 << 20):
                            copy.write(piece)
                elif member.name.startswith(_BLOBS + "/"):
                    hold()
                    digest = _digest_of(member.name)
                    try:
                        locations[digest] = store_bytes(store, file, digest)
                        size_bytes += member.size
                    except Corrupt:
                        damaged.add(digest)
            if about is None or about.get("format") != FORMAT:
                raise Invalid("the archive is no backup of a registry, or it is not complete")
            lost = set(about["lost"])
            if damaged - lost:
                raise Corrupt(f"the backup is damaged: {min(damaged - lost)} is not what it was")
            return Restored(load_records(database, records, locations), len(locations), size_bytes, tuple(sorted(lost)))
    except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
        raise Invalid(f"the archive is no backup of a registry, or it is not complete ({error})") from None
    except OSError as error:
        raise from_os_error(error, "read the backup") from None


def _add_blob(archive: tarfile.TarFile, store: Blobs, row: dict[str, Any]) -> bool:
    """Whether the archive has it. What proves to be damaged is written to the size that was said before, and named."""
    digest, size = Digest.parse(row["digest"]), row["size_bytes"]
    try:
        store.size(row["location"])
    except NotFound:
        return False
    source = _Bytes(store, row["location"], size, digest)
    _add(archive, f"{_BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}", source, size)
    return source.is_whole


def _add(archive: tarfile.TarFile, name: str, source: Any, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    archive.addfile(member, source)


def _digest_of(name: str) -> Digest:
    algorithm, _, hexadecimal = name.removeprefix(_BLOBS + "/").partition("/")
    return Digest.parse(f"{algorithm}:{hexadecimal.rpartition('/')[2]}")


class _Bytes(io.RawIOBase):
    """A blob as a file of exactly ``size`` bytes; ``is_whole`` once all were read and are what the digest says."""

    def __init__(self, store: Blobs, location: Location, size: int, digest: Digest) -> None:
        super().__init__()
        self._pieces = store.read(location, 0, size)
        self._left, self._digest = size, digest
        self._seen = hashlib.new(digest.algorithm)
        self._waiting = b""

    @property
    def is_whole(self) -> bool:
        return self._seen.hexdigest() == self._digest.hex

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        while len(self._waiting) < wanted:
            try:
                piece = next(self._pieces, b"")
            except CaisError as error:
                if error.kind not in ("not_found", "corrupt"):
                    raise
                piece = b""
            if not piece:
                self._waiting += bytes(wanted - len(self._waiting))
            self._waiting += piece
        found, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        self._left -= len(found)
        self._seen.update(found)
        return found
