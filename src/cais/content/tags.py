"""TagStore: names that point at the descriptor of a manifest or an index."""

from __future__ import annotations

from cais.errors import NotFound
from cais.host.database import Database, Transaction
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = (
    """CREATE TABLE tags (
        name TEXT NOT NULL,
        tag TEXT NOT NULL,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        tagged REAL NOT NULL DEFAULT (julianday('now')),
        PRIMARY KEY (name, tag)
    ) WITHOUT ROWID;
    CREATE INDEX tags_by_digest ON tags (digest)""",
)


class TagStore:
    """Implements ``ports.Tags``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def resolve(self, reference: Reference) -> Descriptor:
        """What the name and tag point at; with a digest in it, that of the name, whatever the tag. Raises NotFound."""
        if reference.digest is None:
            row = self._database.row(
                "SELECT digest, media_type, size_bytes FROM tags WHERE name = ? AND tag = ?",
                (reference.name, reference.tag),
            )
        else:
            row = self._database.row(
                "SELECT digest, media_type, size_bytes FROM tags WHERE name = ? AND digest = ?",
                (reference.name, reference.digest),
            )
        if row is None:
            raise NotFound(f"No such image: {reference.familiar}")
        return Descriptor(row[1], Digest(row[0]), row[2])

    def tag(self, reference: Reference, target: Descriptor) -> None:
        with self._database.transaction() as change:
            self.tag_within(change, reference, target)

    def tag_within(self, change: Transaction, reference: Reference, target: Descriptor) -> None:
        """``tag`` as part of a larger transaction."""
        change.execute(
            "INSERT OR REPLACE INTO tags (name, tag, digest, media_type, size_bytes) VALUES (?, ?, ?, ?, ?)",
            (reference.name, tag_key(reference), target.digest, target.media_type, target.size_bytes),
        )

    def untag(self, reference: Reference) -> bool:
        """Whether there was such a name."""
        with self._database.transaction() as change:
            return (
                change.execute("DELETE FROM tags WHERE name = ? AND tag = ?", (reference.name, tag_key(reference))) > 0
            )

    def list(self) -> Sequence[tuple[Reference, Descriptor]]:
        """Ordered by name and tag."""
        return [
            (_reference(row[0], row[1]), Descriptor(row[3], Digest(row[2]), row[4]))
            for row in self._database.rows(
                "SELECT name, tag, digest, media_type, size_bytes FROM tags ORDER BY name, tag"
            )
        ]

    def names_of(self, digest: Digest) -> Sequence[Reference]:
        """All names that point at ``digest``, ordered."""
        return [
            _reference(row[0], row[1])
            for row in self._database.rows("SELECT name, tag FROM tags WHERE digest = ? ORDER BY name, tag", (digest,))
        ]


def tag_key(reference: Reference) -> str:
    """What stands in the column ``tag``: the tag, or ``@`` and the digest of a name that has no tag."""
    if reference.tag:
        return reference.tag
    return f"@{reference.digest}" if reference.digest is not None else "latest"


def _reference(name: str, key: str) -> Reference:
    registry, _, repository = name.partition("/")
    if key.startswith("@"):
        return Reference(registry, repository, "", Digest(key[1:]))
    return Reference(registry, repository, key)
