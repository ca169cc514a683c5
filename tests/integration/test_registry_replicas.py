"""Three replicas on PostgreSQL and an S3 store, behind a balancer that gives each request to the next one."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import faulty_proxy
import nginx_server
import postgres_server
import private_server
import pushing
import replica_servers

pytest.importorskip("obstore")
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def _balancer() -> None:
    if lacking := nginx_server.lacking():
        pytest.skip(lacking)


@pytest.fixture(scope="module")
def mortal_postgres(postgres: Any) -> Iterator[postgres_server.PostgresServer]:
    """One that a test may stop."""
    server = postgres_server.PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def proxy(swift: Any) -> Iterator[faulty_proxy.FaultyProxy]:
    with faulty_proxy.between(swift.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def registry(
    swift: Any, mortal_postgres: postgres_server.PostgresServer, proxy: faulty_proxy.FaultyProxy
) -> Iterator[replica_servers.Replicas]:
    settings = replica_servers.storage(swift, mortal_postgres, proxy.endpoint)
    with replica_servers.replicas(3, **settings, s3_patience="2s") as registry:
        yield registry


def pull_all(registry: replica_servers.Replicas, acknowledged: list[pushing.Acknowledged]) -> None:
    """Each push that was acknowledged, from any replica."""
    clients = [pushing.Client(server.port, patience_seconds=30) for server in registry.servers]
    for push in acknowledged:
        client = random.choice(clients)
        assert client.pull(push.repository, push.tag) == (push.manifest, push.layers), registry.words()


def test_chunks_of_one_upload_arrive_at_different_replicas(registry: replica_servers.Replicas) -> None:
    client = pushing.Client(registry.port)
    layers = [os.urandom(3 * MIB + 11), b"", os.urandom(500)]
    manifest = client.push("team/app", "v1", layers, chunk_bytes=700_000)
    for server in registry.servers:
        assert pushing.Client(server.port).pull("team/app", "v1") == (manifest, layers), registry.words()


def test_ranges_across_parts(registry: replica_servers.Replicas) -> None:
    client = pushing.Client(registry.port)
    content = os.urandom(3 * MIB + 11)
    digest = client.push_blob("app", content)
    path = f"/v2/app/blobs/{digest}"
    head = client.ask("HEAD", path)
    assert (head.status, head.headers["content-length"]) == (200, str(len(content)))
    for start, stop in ((0, 1), (MIB - 1, MIB + 1), (5, 3 * MIB + 11), (3 * MIB + 10, 3 * MIB + 11)):
        answer = client.ask("GET", path, headers={"Range": f"bytes={start}-{stop - 1}"})
        assert (answer.status, answer.body) == (206, content[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(content)}"
    assert client.ask("GET", path, headers={"Range": f"bytes={len(content)}-"}).status == 416


def test_a_body_of_unknown_length_is_streamed_in_bounded_memory(registry: replica_servers.Replicas) -> None:
    client = pushing.Client(registry.servers[0].port)
    piece = os.urandom(MIB)
    count = 64
    state = hashlib.sha256()
    for _ in range(count):
        state.update(piece)
    begun = client.ask("POST", "/v2/app/blobs/uploads/", b"")
    assert begun.headers["oci-chunk-min-length"] == str(MIB), "each chunk is an object of the bucket"
    answer = client.once("PATCH", begun.headers["location"], iter([piece] * count))
    assert answer.status == 202, answer
    done = client.once("PUT", f"{begun.headers['location']}?digest=sha256:{state.hexdigest()}", b"")
    assert done.status == 201, done
    # The process has held a few parts of it at a time, not all.
    assert registry.servers[0].peak_memory_bytes() < 150 * MIB
    connection = http.client.HTTPConnection("127.0.0.1", registry.servers[1].port)
    connection.request("GET", f"/v2/app/blobs/sha256:{state.hexdigest()}")
    found = hashlib.sha256()
    body = connection.getresponse()
    while data := body.read(MIB):
        found.update(data)
    connection.close()
    assert found.hexdigest() == state.hexdigest()
    assert registry.servers[1].peak_memory_bytes() < 150 * MIB


def test_one_of_two_writers_of_an_upload_is_told_that_it_lost(registry: replica_servers.Replicas) -> None:
    from concurrent.futures import ThreadPoolExecutor

    one, two, _ = (pushing.Client(server.port) for server in registry.servers)
    location = one.ask("POST", "/v2/app/blobs/uploads/", b"").headers["location"]
    span = {"Content-Range": f"0-{MIB - 1}"}
    contents = [os.urandom(MIB), os.urandom(MIB)]
    with ThreadPoolExecutor(2) as threads:
        running = [
            threads.submit(client.once, "PATCH", location, content, span)
            for client, content in zip((one, two), contents, strict=True)
        ]
        statuses = [future.result().status for future in running]
    assert sorted(statuses) in ([202, 409], [202, 416]), registry.words()
    won = contents[statuses.index(202)]
    assert two.ask("PUT", f"{location}?digest={pushing.digest_of(won)}", b"").status == 201
    assert one.ask("GET", f"/v2/app/blobs/{pushing.digest_of(won)}").body == won


def test_skopeo_and_podman_push_and_pull(registry: replica_servers.Replicas, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("needs skopeo")
    layout = image_layout(tmp_path / "layout")
    name = f"127.0.0.1:{registry.port}/library/small:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{name}")
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'back'}:v1")
    blobs = {path.name for path in (layout / "blobs" / "sha256").iterdir()}
    assert {path.name for path in (tmp_path / "back" / "blobs" / "sha256").iterdir()} == blobs
    if shutil.which("podman") and os.geteuid() == 0:
        with tempfile.TemporaryDirectory(prefix="cais-podman-", dir="/tmp") as place:
            podman = f"podman --root {place}/root --runroot {place}/run --storage-driver vfs".split()
            run(*podman, "pull", "-q", "--tls-verify=false", name)
            run(*podman, "push", "-q", "--tls-verify=false", name, f"127.0.0.1:{registry.port}/library/again:v2")
        listed = pushing.Client(registry.port).ask("GET", "/v2/library/again/tags/list")
        assert json.loads(listed.body)["tags"] == ["v2"]


def test_blobs_of_one_object_come_from_the_store_itself_where_that_is_set(swift: Any, postgres: Any) -> None:
    with replica_servers.replicas(1, **replica_servers.storage(swift, postgres), s3_redirect="5m") as registry:
        client = pushing.Client(registry.port)
        small, large = os.urandom(MIB), os.urandom(3 * MIB)
        for content in (small, large):
            client.push_blob("app", content, chunk_bytes=4 * MIB)
        answer = client.ask("GET", f"/v2/app/blobs/{pushing.digest_of(small)}")
        assert answer.status == 307, registry.words()
        target = urllib.parse.urlsplit(answer.headers["location"])
        assert target.netloc == swift.endpoint.removeprefix("http://")
        found = pushing.Client(int(target.port or 0)).ask("GET", f"{target.path}?{target.query}")
        assert found.body == small
        assert client.ask("GET", f"/v2/app/blobs/{pushing.digest_of(large)}").body == large
        if shutil.which("skopeo"):
            client.push("app", "v1", [small])
            run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://127.0.0.1:{registry.port}/app:v1")


def test_a_store_that_cannot_be_used_is_said_at_the_start(swift: Any, postgres: Any) -> None:
    settings = replica_servers.storage(swift, postgres) | {"s3_secret_key": "wrong"}
    with replica_servers.replicas(1, **settings) as registry:
        log = registry.servers[0].log
        private_server.until(lambda: "refuses the keys" in log.read_text(), "the reason is in the log")
        assert "wrong" not in log.read_text()


def test_without_database_or_store_the_answer_is_503_and_later_all_is_well(
    registry: replica_servers.Replicas,
    mortal_postgres: postgres_server.PostgresServer,
    proxy: faulty_proxy.FaultyProxy,
) -> None:
    client = pushing.Client(registry.port)
    manifest = client.push("app", "v1", [b"content"])
    digest = pushing.digest_of(b"content")

    def refused(method: str, path: str, body: bytes | None = None) -> None:
        said = client.once(method, path, body)
        assert said.status == 503 and int(said.headers["retry-after"]) > 0, said
        assert json.loads(said.body)["errors"][0]["code"] == "UNAVAILABLE"
        assert b"127.0.0.1" not in said.body

    mortal_postgres.stop()
    try:
        for path in ("/v2/app/manifests/v1", f"/v2/app/blobs/{digest}", "/v2/app/tags/list"):
            refused("GET", path)
        refused("POST", "/v2/app/blobs/uploads/", b"")
    finally:
        mortal_postgres.start()
    assert client.pull("app", "v1") == (manifest, [b"content"])
    location = client.ask("POST", "/v2/app/blobs/uploads/", b"").headers["location"]
    proxy.fault = lambda method, path: "503"
    try:
        refused("GET", f"/v2/app/blobs/{digest}")
        refused("PATCH", location, b"x")
        assert client.once("GET", "/v2/app/manifests/v1").status == 200
    finally:
        proxy.fault = lambda method, path: ""
    assert client.pull("app", "v1") == (manifest, [b"content"])
    assert client.ask("PATCH", location, b"x").status == 202


def test_replicas_that_are_killed_lose_nothing_that_was_acknowledged(registry: replica_servers.Replicas) -> None:
    acknowledged, given_up = pushing.storm(registry.port, 10, 2.5, lambda: kill_one(registry))
    assert not given_up, registry.words()
    pull_all(registry, acknowledged)


def test_a_database_that_is_restarted_loses_nothing_that_was_acknowledged(
    registry: replica_servers.Replicas, mortal_postgres: postgres_server.PostgresServer
) -> None:
    acknowledged, given_up = pushing.storm(registry.port, 10, 2, lambda: restart(mortal_postgres))
    assert not given_up, registry.words()
    pull_all(registry, acknowledged)


def test_a_store_that_errs_and_is_slow_loses_nothing_that_was_acknowledged(
    registry: replica_servers.Replicas, proxy: faulty_proxy.FaultyProxy
) -> None:
    proxy.counted = {}
    with erring(proxy, 0.2):
        acknowledged, given_up = pushing.storm(registry.port, 10, 1.5)
    assert not given_up, registry.words()
    assert all(proxy.counted.get(fault) for fault in FAULTS), proxy.counted
    pull_all(registry, acknowledged)


def test_after_all_that_everything_is_as_it_should_be(registry: replica_servers.Replicas) -> None:
    done = replica_servers.registry_command(registry.settings, "check")
    assert done.returncode == 0 and " wrong" not in done.stdout, done.stdout + done.stderr
    collected = replica_servers.registry_command(registry.settings, "gc")
    assert collected.returncode == 0, collected.stderr


def test_a_backup_of_replicas_is_restored_on_other_stores_and_back(swift: Any, postgres: Any, tmp_path: Path) -> None:
    """From PostgreSQL and S3 to one directory, and from there to another database and bucket."""
    first, second = (replica_servers.storage(swift, postgres) for _ in range(2))
    layers = [os.urandom(3 * MIB), b"small"]
    with replica_servers.replicas(1, **first) as registry:
        manifest = pushing.Client(registry.port).push("team/app", "v1", layers)
    for settings, words in (
        (first, ["backup", str(tmp_path / "one")]),
        ({"root": str(tmp_path / "root")}, ["restore", str(tmp_path / "one")]),
        ({"root": str(tmp_path / "root")}, ["check"]),
        ({"root": str(tmp_path / "root")}, ["backup", str(tmp_path / "two")]),
        (second, ["restore", str(tmp_path / "two")]),
        (second, ["check"]),
    ):
        done = replica_servers.registry_command(settings, *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    with replica_servers.replicas(1, **second) as registry:
        assert pushing.Client(registry.port).pull("team/app", "v1") == (manifest, layers)


@pytest.mark.long
def test_everything_at_once_for_a_minute(
    registry: replica_servers.Replicas,
    mortal_postgres: postgres_server.PostgresServer,
    proxy: faulty_proxy.FaultyProxy,
) -> None:
    def disturb() -> None:
        kill_one(registry)
        if random.random() < 0.3:
            restart(mortal_postgres)

    with erring(proxy, 0.1):
        acknowledged, given_up = pushing.storm(registry.port, 10, 60, disturb)
    assert not given_up, registry.words()
    pull_all(registry, acknowledged)
    done = replica_servers.registry_command(registry.settings, "check")
    assert done.returncode == 0, done.stdout + done.stderr


FAULTS = ("503", "500", "cut", "lost", "half", "slow")


@contextmanager
def erring(proxy: faulty_proxy.FaultyProxy, share: float) -> Iterator[None]:
    faults = itertools.cycle(FAULTS)  # each of them comes, however few requests there are
    proxy.fault = lambda method, path: next(faults) if random.random() < share else ""
    try:
        yield
    finally:
        proxy.fault = lambda method, path: ""


def kill_one(registry: replica_servers.Replicas) -> None:
    """It is started again at once."""
    server = random.choice(registry.servers)
    time.sleep(random.random())
    server.kill()
    server.start()


def restart(server: postgres_server.PostgresServer) -> None:
    time.sleep(random.random())
    server.stop(kindly=random.random() < 0.5)
    time.sleep(random.random() / 2)
    server.start()


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def image_layout(directory: Path) -> Path:
    """An OCI image layout with one image, ``v1``, of two layers."""
    import gzip
    import io
    import tarfile

    directory.mkdir()
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "blobs" / "sha256").mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = pushing.digest_of(content)
        (directory / "blobs" / digest.replace(":", "/")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    tars = []
    for name, size in (("large", 2 * MIB), ("small", 10)):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(os.urandom(size)))
        tars.append(file.getvalue())
    layers = [blob(gzip.compress(content), "application/vnd.oci.image.layer.v1.tar+gzip") for content in tars]
    root = {"type": "layers", "diff_ids": [pushing.digest_of(content) for content in tars]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": root}
    row = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "mediaType": pushing.OCI_MANIFEST, "config": row, "layers": layers}
    entry = blob(json.dumps(document).encode(), pushing.OCI_MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return directory
