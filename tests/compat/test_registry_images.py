"""What Cais pushes other tools pull, and the other way, with equal digests: at Debian's registry and at our own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cais.spec.manifest import Index
from cais.spec.platform import Platform
from image_hosts import Host
from peer_tools import need, run

pytestmark = [pytest.mark.peer, pytest.mark.root]


@pytest.fixture(params=["open_registry", "cais_registry"])
def repository(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(request.param).address}/{request.node.originalname}-{os.urandom(4).hex()}"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "here")
    yield made
    made.engine.close()


def inspected(name: str) -> dict[str, object]:
    """As skopeo sees it."""
    return dict(json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}")))


def test_skopeo_sees_and_copies_it(here: Host, repository: str, tmp_path: Path) -> None:
    need("skopeo")
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    digest = here.push(f"{repository}:1").digest
    assert inspected(f"{repository}:1")["Architecture"] == "amd64"
    run(
        "skopeo",
        "copy",
        "-q",
        "--all",
        "--src-tls-verify=false",
        f"docker://{repository}:1",
        f"oci:{tmp_path}/layout:1",
    )
    index = json.loads((tmp_path / "layout/index.json").read_bytes())
    assert [item["digest"] for item in index["manifests"]] == [digest]
    run(
        "skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:1",
        f"docker://{repository}-back:1",
    )  # fmt: skip
    assert here.pull(f"{repository}-back:1", platform=Platform("linux", "arm64")).digest == digest
    assert here.engine.images.copy(f"docker://{repository}-back:1", f"oci:{tmp_path}/ours:1").digest == digest
    run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path}/ours:1", f"oci:{tmp_path}/theirs:1")


def test_podman_pulls_what_was_pushed_and_pushes_what_is_pulled(
    here: Host, repository: str, podman: Callable[..., str], tmp_path: Path
) -> None:
    here.image(f"{repository}:1", {"a": b"first"}, {"b": os.urandom(10_000)})
    pushed = here.push(f"{repository}:1")
    podman("pull", "-q", "--tls-verify=false", f"{repository}:1")
    [image] = json.loads(podman("image", "inspect", f"{repository}:1"))
    assert "sha256:" + image["Id"].removeprefix("sha256:") == here.engine.images.get(f"{repository}:1").id
    assert image["Digest"] == pushed.digest
    podman("tag", f"{repository}:1", f"{repository}:2")
    podman("push", "-q", "--tls-verify=false", f"{repository}:2")
    pulled = here.pull(f"{repository}:2")
    assert pulled.id == here.engine.images.get(f"{repository}:1").id
    assert pulled.digest == inspected(f"{repository}:2")["Digest"]
    assert here.file_of(f"{repository}:2", "b") == here.file_of(f"{repository}:1", "b")


def test_docker_pulls_what_was_pushed_and_pushes_what_is_pulled(
    here: Host, repository: str, docker: Callable[..., str]
) -> None:
    here.image(f"{repository}:1", {"a": b"first"}, {"b": os.urandom(10_000)})
    pushed = here.push(f"{repository}:1")
    assert f"Digest: {pushed.digest}" in docker("pull", f"{repository}:1")
    [image] = json.loads(docker("image", "inspect", f"{repository}:1"))
    assert image["Id"] == here.engine.images.get(f"{repository}:1").id
    assert image["RepoDigests"] == [f"{repository}@{pushed.digest}"]
    docker("tag", f"{repository}:1", f"{repository}:2")
    said = docker("push", f"{repository}:2")
    pulled = here.pull(f"{repository}:2")
    assert f"digest: {pulled.digest}" in said
    assert pulled.id == image["Id"]
    docker("rmi", f"{repository}:1", f"{repository}:2")


def test_a_list_of_podmans_is_taken_apart_and_sent_on(here: Host, repository: str, podman: Callable[..., str]) -> None:
    for architecture in ("amd64", "arm64"):
        here.image(f"{repository}:{architecture}", {"arch": architecture.encode()}, platform=f"linux/{architecture}")
        here.push(f"{repository}:{architecture}")
    podman("manifest", "create", f"{repository}:all")
    for architecture in ("amd64", "arm64"):
        podman("manifest", "add", "--tls-verify=false", f"{repository}:all", f"docker://{repository}:{architecture}")
    podman("manifest", "push", "--all", "--tls-verify=false", f"{repository}:all", f"docker://{repository}:all")
    pulled = here.pull(f"{repository}:all", all_platforms=True)
    items = Index.decode(here.stores.content.read(pulled.digest)).manifests
    assert [str(item.platform) for item in items] == ["linux/amd64", "linux/arm64"]
    here.engine.images.tag(f"{repository}:all", f"{repository}-on:1")
    assert here.push(f"{repository}-on:1").digest == pulled.digest
