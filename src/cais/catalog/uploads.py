"""Uploads: blobs on their way in.

    begin -> receive (write ..., commit) ... -> finish, or cancel

How far an upload is stands in the database, so that any replica goes on. Nothing of it is visible as a blob before its
digest is verified and its bytes are durable.
"""

from __future__ import annotations

import uuid

from cais.catalog.beforehand import Beforehand
from cais.catalog.errors import DigestInvalid, RangeInvalid, SizeInvalid, TooLarge, UploadBusy, UploadUnknown
from cais.catalog.hashing import Hashes, RunningHash
from cais.errors import CaisError, Conflict, Corrupt
from cais.records import blobs, repositories
from cais.records import uploads as rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cais.blobs.port import Blobs, Location, Pieces, Writer
    from cais.catalog.settings import CatalogSettings
    from cais.records.database import Database
    from cais.spec.digest import Digest


# So many chunks may be smaller than the store wants them.
_FREE_PARTS = 1000


class Uploads:
    """Blobs on their way in: begun, appended to, finished or cancelled (distribution-spec, pushing blobs).

    Ids are random; offsets and sizes are in bytes. Methods raise UploadUnknown, and what ``catalog.errors`` has.
    """

    def __init__(self, settings: CatalogSettings, database: Database, store: Blobs) -> None:
        self.limit_bytes = settings.blob_limit_bytes
        self._public = settings.access.public
        self.hashes = Hashes()
        self._beforehand = Beforehand()
        self._since = _host_start() if store.is_near else ""
        self._database, self._store = database, store
        self.least_chunk_bytes = store.least_chunk_bytes

    def begin(self, repository: str, algorithm: str = "") -> str:
        """The id of a new upload; the repository is made where it is not there. ``algorithm`` is that of its digest,
        where the client says it beforehand."""
        begun = self.begun(repository, algorithm)
        if begun is not None:
            return begun
        more = self._beforehand.wanted(repository)
        upload, *others = [uuid.uuid4().hex for _ in range(1 + more)]

        def write(connection: Connection) -> None:
            repository_id = repositories.ensure(self._database, connection, repository, public=self._public)
            rows.begin(self._database, connection, [upload, *others], repository_id)

        try:
            self._database.write(write, durable=False)
        except BaseException:
            self._beforehand.made(repository, more, [])
            raise
        self._beforehand.made(repository, more, others)
        return self._begins(upload, algorithm)

    def begun(self, repository: str, algorithm: str = "") -> str | None:
        """As ``begin``, where that takes no time: of an upload that was begun beforehand. Else None."""
        upload = self._beforehand.take(repository)
        return None if upload is None else self._begins(upload, algorithm)

    def _begins(self, upload: str, algorithm: str) -> str:
        if algorithm:
            self.hashes.keep(upload, RunningHash(algorithm))
        return upload

    @property
    def has_begun(self) -> bool:
        """Whether ``forget_begun`` may have something to do, now or soon."""
        return bool(self._beforehand)

    def forget_begun(self, *, all: bool = False) -> None:
        """Forgets uploads that were begun beforehand and that nobody has asked for in time, or ``all`` of them. What
        cannot be forgotten now goes when it is old."""
        left = self._beforehand.left(all=all)
        if not left:
            return

        def write(connection: Connection) -> None:
            for upload in left:
                rows.end(self._database, connection, upload)

        try:
            self._database.write(write, durable=False)
        except CaisError:
            pass

    def offset(self, repository: str, upload: str) -> int:
        """How many bytes of it are here. Raises UploadUnknown."""
        return self._find(repository, upload).offset_bytes

    def receive(self, repository: str, upload: str, start: int | None = None, algorithm: str = "") -> Receiving:
        """To append to it. ``start`` is where the client believes that it is (None: it does not say), ``algorithm``
        that of its digest, where it is known already.

        Raises UploadUnknown, RangeInvalid (these are not the next bytes), UploadBusy, SizeInvalid (many small chunks).
        """
        row = self._find(repository, upload)
        if len(row.parts) >= _FREE_PARTS and 2 * row.offset_bytes < len(row.parts) * self.least_chunk_bytes:
            # Each is a request to the store, and stands in the records for as long as the blob does. (A chunk that is
            # long enough may be two parts.)
            raise SizeInvalid(f"chunks have at least {self.least_chunk_bytes} bytes here")
        if start is not None and start != row.offset_bytes:
            raise RangeInvalid(
                f"the upload is at byte {row.offset_bytes}, not at {start}",
                {"upload": upload, "offset": row.offset_bytes},
            )
        return Receiving(self, repository, row, algorithm, noted=True)

    def receive_whole(self, repository: str, algorithm: str) -> Receiving:
        """For a blob that comes in one request: nobody can go on with it, so that nothing of it is noted."""
        return Receiving(self, repository, rows.UploadRow(uuid.uuid4().hex, 0, 0, []), algorithm, noted=False)

    def cancel(self, repository: str, upload: str) -> None:
        """Raises UploadUnknown."""
        row = self._find(repository, upload)
        if not self._database.write(lambda connection: rows.end(self._database, connection, upload)):
            raise _unknown(upload)
        self.discard(row)

    def _find(self, repository: str, upload: str) -> rows.UploadRow:
        row = rows.find(self._database, repository, upload)
        if row is None:
            raise _unknown(upload)
        return row

    # What Receiving does with the stores.

    def writer(self, repository: str, row: rows.UploadRow, noted: bool) -> Writer:
        try:
            writer = self._store.append(row.id, row.parts, row.offset_bytes)
        except Conflict as error:
            raise UploadBusy(error.message) from None
        except Corrupt:
            raise _unknown(row.id) from None
        try:
            # The writer before has gone on, if it let go after the row was read: its bytes must not be written over.
            if noted and not writer.is_first and self._find(repository, row.id).offset_bytes != row.offset_bytes:
                raise UploadBusy("another request has written to this upload")
        except BaseException:
            writer.close()
            raise
        return writer

    def advance(self, before: rows.UploadRow, now: rows.UploadRow) -> None:
        """Raises UploadBusy."""
        if not self._database.write(
            lambda connection: rows.advance(self._database, connection, before, now), durable=False
        ):
            raise UploadBusy("another request has written to this upload, or cancelled it")

    def verify(self, row: rows.UploadRow, known: RunningHash | None, digest: Digest) -> None:
        """Raises DigestInvalid where the upload, as ``row`` says it is, is not ``digest``."""
        found = ""
        if known is not None and known.offset_bytes == row.offset_bytes:
            found = known.digest
        elif row.hashed is not None and row.hashed["since"] == self._since:
            found = row.hashed["digest"]
        if found.partition(":")[0] != digest.algorithm:
            known = RunningHash(digest.algorithm)
            known.update(self._store.reread(row.id, row.parts, row.offset_bytes))
            found = known.digest
        if found != digest:
            raise DigestInvalid("provided digest did not match uploaded content", {"digest": digest, "uploaded": found})

    def hashed(self, known: RunningHash | None, offset_bytes: int) -> dict[str, str] | None:
        """What the records say of so many bytes of an upload, so that whichever worker finishes it need not read them.

        Bytes that may be gone with the host's memory are believed until the host starts again.
        """
        if known is None or known.offset_bytes != offset_bytes:
            return None
        return {"digest": known.digest, "since": self._since}

    def keep(
        self, repository: str, began: rows.UploadRow, noted: bool, digest: Digest, size_bytes: int, location: Location
    ) -> None:
        """The upload is a blob of the repository. ``began`` is what the database knows of it."""

        def write(connection: Connection) -> int | None:
            if noted and not rows.end(self._database, connection, began.id, began.offset_bytes):
                if blobs.is_at(connection, digest, location):
                    return None  # it was done, and the database's answer lost
                raise UploadBusy("another request has written to this upload, or cancelled it")
            repository_id = began.repository_id
            if not noted:
                repository_id = repositories.ensure(self._database, connection, repository, public=self._public)
            added = blobs.add(self._database, connection, digest, size_bytes, location)
            blobs.link(self._database, connection, repository_id, digest)
            return None if added else blobs.throw_away(connection, location)

        # Where this fails the bytes stay: whether the database has taken them may not be known, and another request may
        # go on with the same ones. The collector finds those that are nobody's.
        garbage = self._database.write(write)
        if garbage is not None:
            self._store.remove(location)
            self._database.write(lambda connection: blobs.thrown_away(connection, garbage))

    def discard(self, row: rows.UploadRow) -> None:
        """Frees the bytes of an upload that nobody knows; what cannot be freed now is found by the collector."""
        try:
            self._store.discard(row.id, row.parts)
        except CaisError:
            pass


class Receiving:
    """One request's bytes of an upload. Each method but ``offset_bytes`` blocks; one thread at a time uses it.

    It ends with ``commit`` (more will come), ``finish`` (that was all) or neither: ``close`` forgets what it wrote.
    """

    def __init__(self, uploads: Uploads, repository: str, row: rows.UploadRow, algorithm: str, *, noted: bool) -> None:
        """Raises UploadBusy, UploadUnknown."""
        self._uploads, self._repository, self._row, self._noted = uploads, repository, row, noted
        self._closed = False
        self._writer = uploads.writer(repository, row, noted)
        self._hash = uploads.hashes.take(row.id, row.offset_bytes, algorithm)
        self.offset_bytes = row.offset_bytes

    @property
    def upload(self) -> str:
        return self._row.id

    def write(self, pieces: Pieces) -> None:
        """Raises TooLarge."""
        size_bytes = sum(map(len, pieces))
        if not size_bytes:
            return
        end_bytes = self.offset_bytes + size_bytes
        if 0 < self._uploads.limit_bytes < end_bytes:
            raise TooLarge(f"a blob has at most {self._uploads.limit_bytes} bytes here")
        hashing = None if self._hash is None else self._uploads.hashes.update(self._hash, pieces, size_bytes)
        try:
            self._writer.write(pieces)
        except BaseException:
            self._hash = None  # it knows of what was not written
            raise
        finally:
            if hashing is not None:
                hashing.result()
        self.offset_bytes = end_bytes  # what was not written (a full disk) is not committed

    def commit(self) -> None:
        """What was written is part of the upload from now on. Raises UploadBusy."""
        if self.offset_bytes != self._row.offset_bytes:
            hashed = self._uploads.hashed(self._hash, self.offset_bytes)
            now = self._row._replace(offset_bytes=self.offset_bytes, parts=self._writer.commit(), hashed=hashed)
            self._uploads.advance(self._row, now)
            self._row = now
        self._writer.close()
        if self._hash is not None:
            self._uploads.hashes.keep(self._row.id, self._hash)

    def finish(self, digest: Digest) -> None:
        """The upload is the blob ``digest`` of the repository, durably. Raises DigestInvalid (it is not that blob:
        the upload is as it was before this request), UploadBusy."""
        # The writer is closed at the end: until then nobody else writes to the bytes that are verified here.
        row = self._row._replace(offset_bytes=self.offset_bytes, parts=self._writer.commit())
        if row.offset_bytes != self._row.offset_bytes:
            row = row._replace(hashed=None)
        self._uploads.verify(row, self._hash, digest)
        location = self._writer.finish(digest)
        self._uploads.keep(self._repository, self._row, self._noted, digest, row.offset_bytes, location)
        self._closed = True

    def close(self) -> None:
        """May be called twice."""
        self._writer.close()
        if not self._closed and not self._noted:
            self._uploads.discard(self._row)
        self._closed = True


def _host_start() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _unknown(upload: str) -> UploadUnknown:
    return UploadUnknown("blob upload unknown to registry", {"upload": upload[:64]})
