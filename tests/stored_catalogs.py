"""Catalogs on each pair of stores that is served: SQLite and files, PostgreSQL and an S3 bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from cais.catalog.catalog import Catalog


class Pair(NamedTuple):
    """``database_url`` and ``blobs``: what opens both stores again, as another replica does."""

    database_url: str
    blobs: Callable[[], Any]

    @contextmanager
    def catalog(self, database_url: str = "") -> Iterator[Catalog]:
        from cais.catalog.catalog import Catalog
        from cais.catalog.settings import CatalogSettings
        from cais.records.database import Database

        url = database_url or self.database_url
        settings = CatalogSettings(root="", database=url)
        catalog = Catalog(settings, Database(url), self.blobs())
        try:
            yield catalog
        finally:
            catalog.close()


def embedded(request: pytest.FixtureRequest, directory: Path) -> Pair:
    from cais.blobs.files import FileBlobs
    from cais.records.database import Database

    database = Database(f"sqlite:///{directory}/registry.db")
    database.upgrade()
    database.close()
    return Pair(f"sqlite:///{directory}/registry.db", lambda: FileBlobs(str(directory)))


def replicated(request: pytest.FixtureRequest, directory: Path) -> Pair:
    import swift_server
    from cais.blobs.s3 import S3Blobs
    from cais.blobs.s3_settings import S3Settings

    swift = request.getfixturevalue("swift")
    postgres = request.getfixturevalue("postgres")
    settings = S3Settings(
        swift.bucket(),
        endpoint=swift.endpoint,
        access_key=swift_server.ACCESS_KEY,
        secret_key=swift_server.SECRET_KEY,
        part_bytes=1 << 20,
    )
    return Pair(postgres.with_schema(), lambda: S3Blobs(settings))
