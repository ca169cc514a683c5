"""Administration: accounts, robots, grants, signing keys and who may read a repository, on the records alone.

For who runs the registry: nothing is asked about permissions here. The registry need not be running, and where it is,
it goes by what was changed at the next request.
"""

from __future__ import annotations

from cais.catalog.accounts import Accounts
from cais.catalog.errors import NameUnknown
from cais.catalog.grants import Grants
from cais.catalog.keys import signing_keys
from cais.catalog.names import repository_name
from cais.catalog.robots import Robots
from cais.records import repositories
from cais.records.database import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cais.catalog.settings import CatalogSettings
    from cais.records.repositories import Repository


class Administration:
    """``accounts``, ``robots``, ``grants`` and ``keys`` do what their modules say."""

    def __init__(self, database: Database, settings: CatalogSettings) -> None:
        self._database = database
        self.accounts = Accounts(database)
        self.robots = Robots(database)
        self.grants = Grants(database)
        self.keys = signing_keys(database, settings.access)

    @classmethod
    def open(cls, settings: CatalogSettings) -> Administration:
        """The records are made, or brought up to date, where that is due: the first account comes before the first
        start. Raises Invalid, Denied, Unavailable, Conflict (the database is of a newer version)."""
        database = Database(settings.database_url)
        try:
            database.upgrade()
        except BaseException:
            database.close()
            raise
        return cls(database, settings)

    def repositories(self) -> list[Repository]:
        """By name."""
        with self._database.reading() as connection:
            return repositories.all(connection)

    def publish(self, name: str, public: bool) -> None:
        """Whether everybody may pull it from now on. Raises NameInvalid, NameUnknown."""
        repository_name(name)

        def write(connection: Connection) -> bool:
            return repositories.publish(connection, name, public)

        if not self._database.write(write):
            raise NameUnknown(f"there is no repository {name}")

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Administration:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
