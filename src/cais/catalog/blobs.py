"""Blobs that are there: looking, opening, mounting, deleting."""

from __future__ import annotations

import os
import time

from cais.catalog.errors import BlobUnknown
from cais.errors import Corrupt
from cais.records import blobs as rows
from cais.records import repositories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from cais.blobs.port import Blobs
    from cais.catalog.rules import Seen
    from cais.catalog.settings import CatalogSettings
    from cais.records.database import Database
    from cais.spec.digest import Digest

_PIECE_BYTES = 1 << 20


class OpenBlob:
    """A blob for reading: ``file`` is a descriptor of a file that holds exactly it, or None: then it is ``read``.

    Whoever has it closes it.
    """

    __slots__ = ("_blobs", "_location", "file", "link", "size_bytes")

    def __init__(self, blobs: Blobs, row: rows.StoredBlob) -> None:
        self._blobs, self._location, self.size_bytes = blobs, row.location, row.size_bytes
        self.link = blobs.link(row.location, "application/octet-stream")
        self.file = None if self.link else blobs.open_file(row.location)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Pieces of up to a MiB. Raises NotFound, Corrupt, Unavailable."""
        if self.file is None:
            yield from self._blobs.read(self._location, start, stop)
        else:
            while start < stop:
                piece = os.pread(self.file, min(_PIECE_BYTES, stop - start), start)
                if not piece:
                    raise Corrupt(f"a blob of {self.size_bytes} bytes has only {start}")
                start += len(piece)
                yield piece

    def close(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None


class StoredBlobs:
    """Blobs that repositories have (distribution-spec, pulling blobs; mounting a blob from another repository)."""

    def __init__(self, settings: CatalogSettings, database: Database, blobs: Blobs) -> None:
        self._public, self._policy = settings.access.public, settings.policy
        self._database, self._blobs = database, blobs

    def glance(self, repository: str, digest: Digest) -> tuple[int, bool]:
        """The size in bytes; and whether the link is so old that who relies on it has to ask by ``size``.

        Raises BlobUnknown.
        """
        row = self._find(repository, digest)
        return row.size_bytes, self._policy.is_old(row.linked_unix, time.time())

    def size(self, repository: str, digest: Digest) -> int:
        """In bytes. Who asks may rely on it that the blob is there: it is not collected for a while.

        Raises BlobUnknown.
        """
        row = self._find(repository, digest)
        if self._policy.is_old(row.linked_unix, time.time()):

            def renew(connection: Connection) -> bool:
                found = repositories.find(self._database, connection, repository)
                return found is not None and bool(rows.renew(connection, found, [digest]))

            if not self._database.write(renew):
                raise _unknown(digest)
        return row.size_bytes

    def open(self, repository: str, digest: Digest) -> OpenBlob:
        """Raises BlobUnknown, NotFound (its bytes are lost)."""
        return OpenBlob(self._blobs, self._find(repository, digest))

    def mount(self, source: str, repository: str, digest: Digest) -> bool:
        """Whether ``repository`` has now what ``source`` has; the caller has asked for access to both."""

        def write(connection: Connection) -> bool:
            source_id = repositories.find(self._database, connection, source)
            if source_id is None or not rows.renew(connection, source_id, [digest]):
                return False
            target = repositories.ensure(self._database, connection, repository, public=self._public)
            rows.link(self._database, connection, target, digest)
            return True

        return self._database.write(write)

    def source(self, digest: Digest, shown: Sequence[Seen]) -> str | None:
        """A repository that has the blob and is ``shown``. One query: how long it takes says nothing of the others."""
        with self._database.reading() as connection:
            return rows.owner(connection, digest, shown)

    def delete(self, repository: str, digest: Digest) -> None:
        """The repository has it no more; its bytes go when nobody has it. Raises BlobUnknown."""

        def write(connection: Connection) -> bool:
            found = repositories.find(self._database, connection, repository)
            return found is not None and rows.unlink(connection, found, digest)

        if not self._database.write(write):
            raise _unknown(digest)

    def _find(self, repository: str, digest: Digest) -> rows.StoredBlob:
        row = rows.find(self._database, repository, digest)
        if row is None:
            raise _unknown(digest)
        return row


def _unknown(digest: Digest) -> BlobUnknown:
    return BlobUnknown("blob unknown to registry", {"digest": digest})
