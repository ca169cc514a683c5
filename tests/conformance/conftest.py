"""The registry that is asked: on one directory, and on the stores of replicas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import replica_servers
from registry_process import RegistryProcess, registry_process


@pytest.fixture(scope="session", params=["embedded", "replicated"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    environment = {}
    if request.param == "replicated":
        stores = replica_servers.storage(request.getfixturevalue("swift"), request.getfixturevalue("postgres"))
        environment = {f"CAIS_REGISTRY_{name.upper()}": value for name, value in stores.items()}
    with registry_process(tmp_path_factory.mktemp("registry"), environment=environment) as server:
        yield server
