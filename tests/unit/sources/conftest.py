"""A store of sources by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.host.database import Database
from cais.host.leases import SCHEMA as LEASES
from cais.host.leases import Leases
from cais.sources.command import Git
from cais.sources.files import Files
from cais.sources.git import Repositories
from cais.sources.store import SCHEMA, SourceStore


class Place:
    """One root directory, as one process has it."""

    def __init__(self, root: str) -> None:
        schemas = {"leases": LEASES, "sources": SCHEMA}
        self.root = root
        self.database = Database(f"{root}/cais.db", len(LEASES) + len(SCHEMA), lambda: schemas)
        self.leases = Leases(root, self.database)
        self.store = SourceStore(root, self.database, self.leases)
        self.files = Files(self.store, {})
        self.repositories = Repositories(self.store, Git(os.environ, {}))

    def another(self) -> Place:
        return Place(self.root)

    def orphans(self) -> list[str]:
        with self.database.transaction() as change:
            self.leases.bury_dead(change)
            return self.store.orphans(change)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "root").mkdir()
    place = Place(str(tmp_path / "root"))
    yield place
    place.leases.release()
    place.database.close()
