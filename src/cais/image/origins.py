"""Which repositories have a blob, as far as this host has seen: for mounting it there, and for not sending it again."""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.host.database import Database, Transaction
    from cais.spec.digest import Digest

SCHEMA = (
    """CREATE TABLE blob_origins (
        blob TEXT NOT NULL,
        registry TEXT NOT NULL,
        repository TEXT NOT NULL,
        seen REAL NOT NULL DEFAULT (julianday('now')),
        PRIMARY KEY (blob, registry, repository)
    ) WITHOUT ROWID""",
)

# Of one blob: a base image may have been seen in every repository that was ever pushed to.
REPOSITORIES_LIMIT = 4


class Origins:
    """What is noted here may have changed since: whoever relies on it asks again where the registry disagrees."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, registry: str, repository: str, blobs: Iterable[Digest]) -> None:
        """They were seen there just now."""
        with self._database.transaction() as change:
            change.execute_many(
                "INSERT OR REPLACE INTO blob_origins (blob, registry, repository) VALUES (?, ?, ?)",
                [(blob, registry, repository) for blob in blobs],
            )

    def forget(self, registry: str, repository: str) -> None:
        """The registry says that a blob noted there is not there: then perhaps none is."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM blob_origins WHERE registry = ? AND repository = ?", (registry, repository))

    def repositories(self, registry: str, blob: Digest) -> list[str]:
        """Of ``registry``, the last seen first."""
        rows = self._database.rows(
            "SELECT repository FROM blob_origins WHERE blob = ? AND registry = ? ORDER BY seen DESC LIMIT ?",
            (blob, registry, REPOSITORIES_LIMIT),
        )
        return [str(row[0]) for row in rows]

    def is_known(self, blob: Digest) -> bool:
        """Whether it was seen in any registry."""
        return self._database.row("SELECT 1 FROM blob_origins WHERE blob = ? LIMIT 1", (blob,)) is not None

    @staticmethod
    def forget_collected(change: Transaction) -> None:
        """Of blobs that are gone from here."""
        change.execute("DELETE FROM blob_origins WHERE blob NOT IN (SELECT digest FROM blobs)")
