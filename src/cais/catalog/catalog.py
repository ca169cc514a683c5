"""Catalog: records, blobs and the rules over them, opened from settings."""

from __future__ import annotations

from contextlib import closing, contextmanager

from cais.catalog.access import Access
from cais.catalog.accounts import Accounts
from cais.catalog.blobs import StoredBlobs
from cais.catalog.keys import signing_keys
from cais.catalog.manifests import Manifests
from cais.catalog.tags import Tags
from cais.catalog.uploads import Uploads
from cais.errors import NotFound
from cais.records.database import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cais.blobs.port import Blobs
    from cais.catalog.settings import CatalogSettings


class Catalog:
    """``uploads``, ``blobs``, ``manifests`` and ``tags`` do what their modules say; ``access`` decides who may.

    Methods block and may be called from many threads. A process that forks opens one in each child. ``is_near`` says
    that facts and bytes are in files of this host: then looking one up takes less time than asking a thread to do it.
    """

    def __init__(self, settings: CatalogSettings, database: Database, blobs: Blobs) -> None:
        self.settings = settings
        self.access = Access(database, settings.access)
        self.uploads = Uploads(settings, database, blobs)
        self.blobs = StoredBlobs(settings, database, blobs)
        self.manifests = Manifests(settings, database)
        self.tags = Tags(database)
        self.is_near = database.is_sqlite and blobs.is_near
        self._database = database
        self._bytes = blobs

    @classmethod
    def open(cls, settings: CatalogSettings) -> Catalog:
        """Raises Invalid (a setting), Denied, Unavailable."""
        return cls(settings, Database(settings.database_url), open_blobs(settings))

    def parts(self) -> dict[str, Callable[[], None]]:
        """What has to work, by name: each raises Unavailable or Denied where it cannot be used now."""
        return {"database": self._database.answers, "blobs": self._bytes.answers}

    def close(self) -> None:
        self.uploads.forget_begun(all=True)
        self._database.close()
        self._bytes.close()


@contextmanager
def stores(settings: CatalogSettings) -> Iterator[tuple[Database, Blobs]]:
    """Records and blobs, for the work of an operator. Raises Invalid, Denied, Unavailable."""
    with closing(open_blobs(settings)) as blobs, closing(Database(settings.database_url)) as database:
        yield database, blobs


def open_blobs(settings: CatalogSettings) -> Blobs:
    """Raises Invalid, Denied, Unavailable."""
    if settings.s3 is not None:
        from cais.blobs.s3 import S3Blobs

        return S3Blobs(settings.s3)
    from cais.blobs.files import FileBlobs

    return FileBlobs(settings.root)


def require_made(settings: CatalogSettings) -> None:
    """For the work of an operator on a registry that is there. Raises NotFound, Invalid, Unavailable."""
    with closing(Database(settings.database_url)) as database:
        if not database.is_made():
            where = database.where if settings.database else settings.root
            raise NotFound(
                f"there is no registry in {where}",
                hint="Name it by --root, --config or --set database.url. 'cais registry serve' makes a new one.",
            )


def make(settings: CatalogSettings) -> None:
    """Directories and the schema, or what is new of them.

    Raises Invalid, Denied, Unavailable, Conflict (the database is of a newer version).
    """
    open_blobs(settings).close()
    with closing(Database(settings.database_url)) as database:
        database.upgrade()


def prepare(settings: CatalogSettings) -> bool:
    """What has to be done once before catalogs are opened on ``settings``: directories, the schema, the first account.
    Returns whether there is anybody who can sign in.

    Raises Invalid, Denied, Unavailable, Conflict (the database is of a newer version).
    """
    make(settings)
    with closing(Database(settings.database_url)) as database:
        if settings.access.key_secret:
            signing_keys(database, settings.access).signing()  # they can be read, or there is one from now on
        accounts = Accounts(database)
        if settings.access.admin:
            accounts.add_first(settings.access.admin, settings.access.admin_password)
        return bool(accounts.people())
