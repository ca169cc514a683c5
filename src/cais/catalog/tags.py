"""Tags of a repository, and the list of repositories."""

from __future__ import annotations

from cais.catalog.errors import ManifestUnknown, NameUnknown
from cais.records import repositories
from cais.records import tags as rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from cais.catalog.rules import Seen
    from cais.records.database import Database


class Tags:
    """The tags of repositories, listed and deleted (distribution-spec, listing tags; deleting tags)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, repository: str, behind: str, limit: int) -> tuple[list[str], bool]:
        """Up to ``limit`` tags behind ``behind``, in order, and whether there are more. Raises NameUnknown."""
        found = repositories.look(self._database, repository)
        if found is None:
            raise NameUnknown("repository name not known to registry", {"name": repository})
        names = rows.page(self._database, found, behind, limit + 1)
        return names[:limit], len(names) > limit

    def delete(self, repository: str, tag: str) -> None:
        """Raises ManifestUnknown (there is no such tag)."""

        def write(connection: Connection) -> bool:
            found = repositories.find(self._database, connection, repository)
            return found is not None and rows.remove(connection, found, tag)

        if not self._database.write(write):
            raise ManifestUnknown("manifest unknown to registry", {"tag": tag})

    def repositories(self, behind: str, limit: int, shown: Sequence[Seen], term: str = "") -> tuple[list[str], bool]:
        """Up to ``limit`` names of repositories behind ``behind`` that are ``shown`` and contain ``term``, in order,
        and whether there are more."""
        with self._database.reading() as connection:
            found = repositories.page(connection, behind, limit + 1, shown, term)
        return found[:limit], len(found) > limit
