"""The workflows run against a registry on SQLite; where long tests are wanted, on PostgreSQL, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_process import RegistryProcess, registry_process


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    flags = []
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        flags = ["--database-url", postgres.database()]
    with registry_process(tmp_path_factory.mktemp("registry"), *flags) as server:
        yield server
