"""Three replicas on PostgreSQL and an S3 store, behind a balancer that gives each request to the next one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import nginx_server
import pushing
import replica_servers
import swift_server

pytest.importorskip("obstore")
MIB = 1 << 20


def storage(swift: Any, postgres: Any, endpoint: str = "") -> dict[str, str]:
    """The settings of one registry: a database and a bucket of its own."""
    return {
        "database_url": postgres.database(),
        "s3_bucket": swift.bucket(),
        "s3_endpoint": endpoint or swift.endpoint,
        "s3_access_key": swift_server.ACCESS_KEY,
        "s3_secret_key": swift_server.SECRET_KEY,
        "s3_part": "1MiB",
    }


@pytest.fixture(scope="module")
def registry(swift: Any, postgres: Any) -> Iterator[replica_servers.Replicas]:
    if lacking := nginx_server.lacking():
        pytest.skip(lacking)
    with replica_servers.replicas(3, **storage(swift, postgres)) as registry:
        yield registry


def test_chunks_of_one_upload_arrive_at_different_replicas(registry: replica_servers.Replicas) -> None:
    client = pushing.Client(registry.port)
    layers = [os.urandom(3 * MIB + 11), b"", os.urandom(500)]
    manifest = client.push("team/app", "v1", layers, chunk_bytes=700_000)
    for server in registry.servers:
        assert pushing.Client(server.port).pull("team/app", "v1") == (manifest, layers), registry.words()
