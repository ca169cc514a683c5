"""ContentStore: blobs on disk under the OCI layout's paths, byte for byte as received (image-spec image-layout.md).

Ingest, then commit: bytes go to a file that nobody looks at; its rename to its digest's path and its row in the
database happen together, in one writing transaction, after size and digest were found right.
"""

from __future__ import annotations

import os

from cais.errors import Corrupt, NotFound, from_os_error
from cais.host.database import Database, Transaction
from cais.host.files import random_name, write_all
from cais.host.leases import Leases
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE_BYTES = 1 << 20
READ_LIMIT_BYTES = 16 << 20
# By which a file's time may be after its row's, as the two clocks tick.
_TICK_SECONDS = 0.01

SCHEMA = (
    """CREATE TABLE blobs (
        digest TEXT PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        created REAL NOT NULL DEFAULT (julianday('now'))
    ) WITHOUT ROWID;
    CREATE TABLE edges (
        parent TEXT NOT NULL,
        child TEXT NOT NULL,
        PRIMARY KEY (parent, child)
    ) WITHOUT ROWID""",
)


class ContentStore:
    """A Source and a Sink (``cais.ports``) on the local disk. Keys of the graph are digests, or ``kind:name``."""

    def __init__(self, root: str, database: Database, leases: Leases) -> None:
        self.directory = os.path.join(root, "content")
        self._ingest = os.path.join(self.directory, "ingest")
        self._database = database
        self._leases = leases

    def exists(self, blob: Descriptor) -> bool:
        return self.size_of(blob.digest) is not None

    def size_of(self, digest: Digest) -> int | None:
        """In bytes; None when there is no such blob."""
        row = self._database.row("SELECT size_bytes FROM blobs WHERE digest = ?", (digest,))
        return None if row is None else int(row[0])

    def is_sound(self, digest: Digest, *, thorough: bool = False) -> bool:
        """Whether the blob is here with all its bytes. They are read where somebody wrote to the file since it came,
        or ``thorough``; else its length is enough."""
        row = self._database.row(
            "SELECT size_bytes, (created - 2440587.5) * 86400 FROM blobs WHERE digest = ?", (digest,)
        )
        if row is None:
            return False
        size_bytes, stored = row
        try:
            with open(self.path(digest), "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size != size_bytes:
                    return False
                if status.st_mtime <= stored + _TICK_SECONDS and not thorough:
                    return True
                import hashlib

                return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex
        except OSError:
            return False

    def path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return os.path.join(self.directory, "blobs", digest.algorithm, digest.hex)

    def kept_path(self, digest: Digest) -> str:
        """Where the beginning of a blob is kept that did not come whole (``content.kept``)."""
        return os.path.join(self.directory, "kept", f"{digest.algorithm}-{digest.hex}")

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Pieces of at most 1 MiB. Raises NotFound."""
        try:
            descriptor = os.open(self.path(blob.digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no such blob: {blob.digest}")
        try:
            if offset:
                os.lseek(descriptor, offset, os.SEEK_SET)
            while piece := os.read(descriptor, PIECE_BYTES):
                yield piece
        finally:
            os.close(descriptor)

    def read(self, digest: Digest, limit_bytes: int = READ_LIMIT_BYTES) -> bytes:
        """A small blob, whole and verified. Raises NotFound, or Corrupt when it is larger or not what it was."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(limit_bytes + 1)
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}")
        except OSError as error:
            raise from_os_error(error, f"read the blob {digest}")
        if len(data) > limit_bytes:
            raise Corrupt(f"the blob {digest} is larger than {limit_bytes} bytes")
        if not digest.fits(data):
            raise Corrupt(f"the blob {digest} is damaged on disk", hint="Run: cais system check")
        return data

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        """Stores ``pieces`` as ``blob``. Raises Corrupt when they have another size or digest; nothing stays then."""
        with self.ingest(blob.digest.algorithm) as ingest:
            for piece in pieces:
                ingest.write(piece)
                if ingest.size_bytes > blob.size_bytes:
                    break
            ingest.commit(blob)

    def add(self, data: bytes, children: Iterable[str] = ()) -> Digest:
        """Stores a small blob whole, with its edges; returns its digest."""
        digest = Digest.of(data)
        with self._database.transaction() as change:
            if change.row("SELECT 1 FROM blobs WHERE digest = ?", (digest,)) is not None:
                self._leases.hold(change, digest)
                self._link(change, digest, children)
                return digest
        with self.ingest() as ingest:
            ingest.write(data)
            ingest.commit(Descriptor("", digest, len(data)), children)
        return digest

    def ingest(self, algorithm: str = "sha256") -> Ingest:
        """``with store.ingest() as ingest: ingest.write(..); ingest.commit(expected)``; not committed, it is gone."""
        return Ingest(self, algorithm)

    def link(self, parent: str, children: Iterable[str]) -> None:
        """Records that ``parent`` needs ``children``: while it is reached they are not collected."""
        with self._database.transaction() as change:
            self._link(change, parent, children)

    @staticmethod
    def _link(change: Transaction, parent: str, children: Iterable[str]) -> None:
        change.execute_many("INSERT OR IGNORE INTO edges VALUES (?, ?)", [(parent, child) for child in children])

    def children(self, parent: str) -> list[Digest]:
        """The blobs that ``parent`` was said to need (``link``)."""
        rows = self._database.rows("SELECT child FROM edges WHERE parent = ? AND child LIKE 'sha%'", (parent,))
        return [Digest(row[0]) for row in rows]

    def hold(self, keys: Iterable[str]) -> None:
        """Keeps ``keys`` from the collector while this process lives."""
        with self._database.transaction() as change:
            for key in keys:
                self._leases.hold(change, key)

    def digests(self) -> list[tuple[Digest, int]]:
        """All blobs, with their sizes in bytes."""
        return [(Digest(row[0]), int(row[1])) for row in self._database.rows("SELECT digest, size_bytes FROM blobs")]


class Ingest:
    """A blob that is being written. ``size_bytes`` counts what came so far."""

    def __init__(self, store: ContentStore, algorithm: str) -> None:
        self._store = store
        import hashlib  # loads OpenSSL, which those that only read do without

        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._descriptor = -1
        self.path = ""
        self.size_bytes = 0

    def __enter__(self) -> Ingest:
        # The lease's name tells the collector whose file it is.
        self.path = os.path.join(self._store._ingest, f"{self._store._leases.id}.{random_name(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            try:
                self._descriptor = os.open(self.path, flags, 0o600)
            except FileNotFoundError:
                os.makedirs(self._store._ingest, 0o700, exist_ok=True)
                self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise from_os_error(error, "write to the content store")
        return self

    def write(self, piece: bytes | memoryview) -> None:
        """Raises Unavailable when the disk is full."""
        self._hash.update(piece)
        try:
            write_all(self._descriptor, piece)
        except OSError as error:
            raise from_os_error(error, "write to the content store")
        self.size_bytes += len(piece)

    @property
    def digest(self) -> Digest:
        """Of what came so far."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def commit(self, expected: Descriptor | None = None, children: Iterable[str] = ()) -> Digest:
        """Makes the blob visible and holds it for this process; with ``expected``, only if size and digest are right.

        Raises Corrupt otherwise.
        """
        digest = self.digest
        if expected is not None:
            if self.size_bytes != expected.size_bytes:
                more = "more than" if self.size_bytes > expected.size_bytes else f"{self.size_bytes} instead of"
                raise Corrupt(f"the blob {expected.digest} has {more} the {expected.size_bytes} bytes it should have")
            if digest != expected.digest:
                raise Corrupt(f"the blob that should be {expected.digest} has the digest {digest}")
        path = self._store.path(digest)
        try:
            os.fchmod(self._descriptor, 0o444)
            with self._store._database.transaction() as change:
                try:
                    os.rename(self.path, path)
                except FileNotFoundError:
                    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
                    os.rename(self.path, path)
                # Of one that is there already the file is another now, as new as its row.
                change.execute(
                    "INSERT OR REPLACE INTO blobs (digest, size_bytes) VALUES (?, ?)", (digest, self.size_bytes)
                )
                self._store._link(change, digest, children)
                self._store._leases.hold(change, digest)
        except OSError as error:
            raise from_os_error(error, f"store the blob {digest}")
        return digest

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
