"""The steps of the schema lead to the tables that the rooms describe, on both databases."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from cais import records
from cais.errors import Conflict
from cais.records.database import Database
from cais.records.metadata import METADATA
from cais.records.migrating import head


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    for module in pkgutil.iter_modules(records.__path__, "cais.records."):
        importlib.import_module(module.name)  # each describes its own tables
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.db"
    postgres = request.getfixturevalue("postgres")
    return str(postgres.database())


def differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), METADATA))


def test_the_steps_make_what_is_described(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.upgrade()  # nothing is left to do
    with database.reading() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == head()
        assert differences(connection) == []
    database.close()


def test_a_schema_of_a_newer_version_is_left_alone(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.write(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '999'"))
    with pytest.raises(Conflict, match="does not know"):
        database.upgrade()
    database.close()
