"""The table of images: one row for each manifest or index that was named or kept, with what ``image ls`` shows."""

from __future__ import annotations

from cais.host.database import Database, Transaction
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = (
    """CREATE TABLE images (
        target TEXT PRIMARY KEY,
        media_type TEXT NOT NULL,
        target_size_bytes INTEGER NOT NULL,
        id TEXT NOT NULL,
        manifest TEXT NOT NULL,
        manifest_media_type TEXT NOT NULL,
        manifest_size_bytes INTEGER NOT NULL,
        chain TEXT NOT NULL,
        created REAL NOT NULL,
        created_text TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        size_is_exact INTEGER NOT NULL,
        labels TEXT NOT NULL,
        platform TEXT NOT NULL,
        recorded REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX images_by_id ON images (id)""",
    """CREATE TABLE layer_contents (
        blob TEXT PRIMARY KEY,
        diff_id TEXT NOT NULL,
        size_bytes INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE compressed_layers (
        diff_id TEXT NOT NULL,
        compression TEXT NOT NULL,
        level INTEGER NOT NULL,
        blob TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        PRIMARY KEY (diff_id, compression, level)
    ) WITHOUT ROWID""",
)

# For the collector: a query that gives the keys of what has to stay.
ROOTS = ("SELECT target FROM images",)

_COLUMNS = (
    "target, media_type, target_size_bytes, id, manifest, manifest_media_type, manifest_size_bytes, chain, created, "
    "created_text, size_bytes, size_is_exact, labels, platform, recorded"
)


class ImageRecord(NamedTuple):
    """``target`` is what names point at (a manifest or an index), ``manifest`` the one that this host runs.

    ``labels`` is JSON or "". ``chain`` is the topmost chain id, "" without layers. ``created`` and ``recorded`` are in
    seconds since 1970.
    """

    target: Descriptor
    id: Digest
    manifest: Descriptor
    chain: str
    created: float
    created_text: str
    size_bytes: int
    size_is_exact: bool
    labels: str
    platform: str
    recorded: float


class ImageRecords:
    """The rows of images, one for each target (the manifest or index that a name points at). Sizes are in bytes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, change: Transaction, record: ImageRecord) -> None:
        """Adds the row, or replaces the one of the same target."""
        target, manifest = record.target, record.manifest
        change.execute(
            f"INSERT OR REPLACE INTO images ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                target.digest, target.media_type, target.size_bytes, record.id, manifest.digest, manifest.media_type,
                manifest.size_bytes, record.chain, record.created, record.created_text, record.size_bytes,
                record.size_is_exact, record.labels, record.platform, record.recorded,
            ),
        )  # fmt: skip

    def remove(self, change: Transaction, target: Digest) -> None:
        change.execute("DELETE FROM images WHERE target = ?", (target,))

    def all(self) -> Sequence[ImageRecord]:
        """The newest first."""
        return self._query("ORDER BY created DESC, target")

    def by_target(self, target: Digest) -> ImageRecord | None:
        found = self._query("WHERE target = ?", (target,))
        return found[0] if found else None

    def by_id(self, id: Digest) -> Sequence[ImageRecord]:
        """All targets with this config: the same image with layers packed in other ways. The last recorded first."""
        return self._query("WHERE id = ? ORDER BY recorded DESC", (id,))

    def ids_from(self, prefix: str) -> Sequence[Digest]:
        """The ids that start with ``prefix`` (``sha256:`` and hexadecimal digits only), at most two."""
        rows = self._database.rows(
            "SELECT DISTINCT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g")
        )
        return [Digest(row[0]) for row in rows]

    def set_size(self, id: Digest, size_bytes: int) -> None:
        """Once all layers of an image were unpacked, its size is known."""
        with self._database.transaction() as change:
            change.execute("UPDATE images SET size_bytes = ?, size_is_exact = 1 WHERE id = ?", (size_bytes, id))

    def layer_content(self, blob: Digest) -> tuple[Digest, int] | None:
        """What a compressed layer was found to hold: the digest and size in bytes of its plain tar."""
        row = self._database.row("SELECT diff_id, size_bytes FROM layer_contents WHERE blob = ?", (blob,))
        return None if row is None else (Digest(row[0]), int(row[1]))

    def set_layer_content(self, blob: Digest, diff_id: Digest, size_bytes: int) -> None:
        with self._database.transaction() as change:
            change.execute("INSERT OR REPLACE INTO layer_contents VALUES (?, ?, ?)", (blob, diff_id, size_bytes))

    def compressed_layer(self, diff_id: Digest, compression: str, level: int) -> tuple[Digest, int] | None:
        """The blob, and its size in bytes, that a layer was compressed to here."""
        row = self._database.row(
            "SELECT blob, size_bytes FROM compressed_layers WHERE diff_id = ? AND compression = ? AND level = ?",
            (diff_id, compression, level),
        )
        return None if row is None else (Digest(row[0]), int(row[1]))

    def set_compressed_layer(
        self, diff_id: Digest, compression: str, level: int, blob: Digest, size_bytes: int, plain_bytes: int
    ) -> None:
        """``size_bytes`` is the blob's, ``plain_bytes`` the plain tar's."""
        with self._database.transaction() as change:
            change.execute(
                "INSERT OR REPLACE INTO compressed_layers VALUES (?, ?, ?, ?, ?)",
                (diff_id, compression, level, blob, size_bytes),
            )
            change.execute("INSERT OR REPLACE INTO layer_contents VALUES (?, ?, ?)", (blob, diff_id, plain_bytes))

    def was_compressed_here(self, blob: Digest) -> bool:
        """Whether a layer was compressed to this blob here, and did not come so."""
        return self._database.row("SELECT 1 FROM compressed_layers WHERE blob = ?", (blob,)) is not None

    @staticmethod
    def forget_layer_contents(change: Transaction) -> None:
        """Of blobs that are gone."""
        change.execute("DELETE FROM layer_contents WHERE blob NOT IN (SELECT digest FROM blobs)")
        change.execute("DELETE FROM compressed_layers WHERE blob NOT IN (SELECT digest FROM blobs)")

    def _query(self, clause: str, parameters: Sequence[object] = ()) -> list[ImageRecord]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM images {clause}", parameters)
        return [
            ImageRecord(
                Descriptor(row[1], Digest(row[0]), row[2]), Digest(row[3]), Descriptor(row[5], Digest(row[4]), row[6]),
                row[7], row[8], row[9], row[10], bool(row[11]), row[12], row[13], row[14],
            )
            for row in rows
        ]  # fmt: skip
