"""Check: whether every blob is there and is what its digest says, and whether everything that is referred to is there.

It runs while the registry serves. What looks wrong is looked at once more before it is said, because it may have been
removed in between.

Repairing invents nothing: a blob whose bytes are lost or damaged is forgotten, so that pushing it again brings it back
(to a registry that believes to have it nobody sends it); links and references are made again from what is there.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial

from cais.catalog.documents import read
from cais.catalog.strays import find_strays
from cais.errors import CaisError, Corrupt, NotFound
from cais.records import blobs, faults, manifests, tags
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from cais.blobs.port import Blobs
    from cais.records.database import Database

_STRAY_SECONDS = 3600.0  # younger bytes may be on their way into the records


class Fault(NamedTuple):
    """One thing that is wrong; ``mended`` says what was done about it ("": nothing). ``harmless``: bytes are wasted."""

    what: str
    mended: str = ""
    harmless: bool = False


class Check:
    """``fast`` looks at sizes and not at digests. ``repair`` mends what can be. With ``accept_missing`` manifests may
    refer to what is not there."""

    def __init__(
        self,
        database: Database,
        store: Blobs,
        *,
        fast: bool = False,
        repair: bool = False,
        accept_missing: bool = False,
    ) -> None:
        self._database, self._store, self._fast, self._repair = database, store, fast, repair
        self._accept_missing = accept_missing
        self.blobs = self.blob_bytes = self.manifests = 0

    def run(self) -> Iterator[Fault]:
        """What is wrong, as it is found. Raises Unavailable, Denied."""
        yield from self._blobs()
        yield from self._documents()
        yield from self._references()
        yield from self._tags()
        yield from self._strays()

    def _blobs(self) -> Iterator[Fault]:
        for row in faults.blobs(self._database):
            self.blobs += 1
            self.blob_bytes += row.size_bytes
            wrong = self._wrong(row)
            if not wrong:
                continue
            with self._database.reading() as connection:
                now = faults.blob(connection, row.digest)
            if now is None or (now.location != row.location and not (wrong := self._wrong(now))):
                continue  # it was removed, or pushed again, in between
            mended = ""
            if self._repair and self._database.write(partial(_forget_blob, now)):
                mended = "forgotten: push it again"
            yield Fault(f"blob {row.digest}: {wrong}", mended)

    def _wrong(self, row: faults.BlobRow) -> str:
        """What is wrong with a blob's bytes, or ""."""
        digest = Digest.parse(row.digest)
        try:
            size = self._store.size(row.location)
            if size != row.size_bytes:
                return f"it has {size} bytes, not {row.size_bytes}"
            if self._fast:
                return ""
            seen = hashlib.new(digest.algorithm)
            for piece in self._store.read(row.location, 0, row.size_bytes):
                seen.update(piece)
        except NotFound:
            return "its bytes are lost"
        except Corrupt as error:
            return error.message
        return "" if seen.hexdigest() == digest.hex else "its bytes are damaged"

    def _documents(self) -> Iterator[Fault]:
        for row in faults.documents(self._database):
            self.manifests += 1
            digest = Digest.parse(row.digest)
            if len(row.content) != row.size_bytes or not digest.fits(row.content):
                yield Fault(f"manifest {digest}: its bytes are damaged")
                continue
            try:
                wanted = set(read(row.content, row.media_type, digest, row.size_bytes).references)
            except CaisError as error:
                yield Fault(f"manifest {digest}: {error.message}")
                continue
            with self._database.reading() as connection:
                kept = faults.references(connection, digest)
            if kept == wanted or (not kept and not self._is_there(digest)):
                continue
            if self._repair:
                self._database.write(partial(_note_references, digest, wanted))
            yield Fault(
                f"manifest {digest}: the records of what it refers to differ from it",
                "made again" if self._repair else "",
            )

    def _is_there(self, digest: str) -> bool:
        return manifests.content(self._database, digest) is not None

    def _references(self) -> Iterator[Fault]:
        for row in faults.missing_references(self._database):
            mended = ""
            if self._repair and row.is_stored:
                self._database.write(partial(self._link, row))
                mended = "linked again"
            what = f"{row.repository}@{row.parent}: it refers to {row.child}, which the repository has not"
            yield Fault(what, mended, harmless=self._accept_missing)

    def _tags(self) -> Iterator[Fault]:
        with self._database.reading() as connection:
            found = faults.loose_tags(connection)
        for row in found:
            if self._repair:
                self._database.write(partial(_remove_tag, row))
            yield Fault(
                f"{row.repository}:{row.name}: its manifest {row.digest} is not there",
                "removed" if self._repair else "",
            )

    def _strays(self) -> Iterator[Fault]:
        for stray in find_strays(self._database, self._store, time.time() - _STRAY_SECONDS):
            if self._repair:
                stray.remove(self._store)
            name = f"the upload {stray.upload}" if stray.location is None else self._store.name(stray.location)
            what = f"nobody knows of {name} ({stray.size_bytes} bytes)"
            yield Fault(what, "removed" if self._repair else "", harmless=True)

    def _link(self, row: faults.MissingReference, connection: Connection) -> None:
        blobs.link(self._database, connection, row.repository_id, row.child)


def _forget_blob(row: faults.BlobRow, connection: Connection) -> bool:
    return faults.forget_blob(connection, row.digest, row.location)


def _note_references(digest: str, pairs: set[tuple[str, str]], connection: Connection) -> None:
    faults.note_references(connection, digest, pairs)


def _remove_tag(row: faults.LooseTag, connection: Connection) -> None:
    tags.remove(connection, row.repository_id, row.name)
