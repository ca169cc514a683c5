"""Manifest lists put together by hand, with a real registry; Docker's client is asked for the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cais.errors import Conflict, Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.platform import Platform
from image_hosts import Host

pytestmark = pytest.mark.root


@pytest.fixture
def members(here: Host, repository: str) -> list[str]:
    """Two images in a registry."""
    for tag, platform, data in (("amd64", "linux/amd64", b"a"), ("other", "linux/arm64", b"b")):
        here.image(f"{repository}:{tag}", {"file": data}, platform=platform)
        here.push(f"{repository}:{tag}")
    return [f"{repository}:amd64", f"{repository}:other"]


def test_a_list_of_two(here: Host, there: Host, repository: str, members: list[str]) -> None:
    manifests = there.engine.manifests
    assert manifests.create(f"{repository}:1", members) == f"{repository}:1"
    manifests.annotate(f"{repository}:1", members[1], architecture="arm64", variant="v8", os_features=["sse"])
    document = manifests.inspect(f"{repository}:1")
    assert [item["platform"]["architecture"] for item in document["manifests"]] == ["amd64", "arm64"]
    assert document["manifests"][1]["platform"]["os.features"] == ["sse"]
    digest = manifests.push(f"{repository}:1")
    pulled = there.pull(f"{repository}:1", platform=Platform("linux", "arm64"))
    assert pulled.digest == digest
    assert there.engine.images.get(f"{repository}:1").digest == digest
    assert there.file(f"{repository}:1", "file") == b"b"
    # Of a name in the registry the same is shown.
    assert here.engine.manifests.inspect(f"{repository}:1") == document


def test_members_of_another_repository_go_along(here: Host, there: Host, repository: str, members: list[str]) -> None:
    there.engine.manifests.create(f"{repository}-list:1", members)
    told: list[dict[str, Any]] = []
    digest = there.engine.manifests.push(f"{repository}-list:1", purge=True, progress=told.append)
    digests = [item["digest"] for item in there.engine.manifests.inspect(f"{repository}-list:1")["manifests"]]
    name = f"{repository}-list"
    assert [event["text"] for event in told] == [f"Pushed ref {name}@{one} with digest: {one}" for one in digests]
    assert there.pull(f"{repository}-list:1").digest == digest
    with pytest.raises(NotFound, match="No such manifest"):
        there.engine.manifests.push(f"{repository}-list:1")


def test_what_is_refused(here: Host, repository: str, members: list[str]) -> None:
    manifests = here.engine.manifests
    manifests.create(f"{repository}:1", members[:1])
    with pytest.raises(Conflict, match="refusing to amend an existing manifest list with no --amend flag"):
        manifests.create(f"{repository}:1", members)
    with pytest.raises(Invalid, match=r"^error parsing name for manifest list n!: invalid reference format"):
        manifests.create("n!", members)
    with pytest.raises(Invalid, match=r"^error parsing name for manifest list n!: invalid reference format"):
        manifests.annotate("n!", members[0])
    with pytest.raises(Invalid, match=r"^error parsing name for manifest n!: invalid reference format"):
        manifests.annotate(f"{repository}:1", "n!")
    manifests.create(f"{repository}:1", members[1:], amend=True)
    assert len(manifests.inspect(f"{repository}:1")["manifests"]) == 2
    with pytest.raises(Invalid, match="unsupported os/arch combination: linux/vax"):
        manifests.annotate(f"{repository}:1", members[0], architecture="vax")
    with pytest.raises(NotFound, match=f"^manifest for image {repository}:none does not exist in {repository}:1$"):
        manifests.annotate(f"{repository}:1", f"{repository}:none", architecture="arm64")
    with pytest.raises(NotFound, match=f"^no such manifest: {repository}:none$"):
        manifests.create(f"{repository}:2", [f"{repository}:none"])
    manifests.push(f"{repository}:1")
    with pytest.raises(Invalid, match=f"^{repository}:1 is a manifest list$"):
        manifests.create(f"{repository}:2", [f"{repository}:1"])
    manifests.remove(f"{repository}:1")
    with pytest.raises(NotFound, match=f"^No such manifest: {repository}:1$"):
        manifests.remove(f"{repository}:1")


@pytest.mark.peer
def test_as_docker_does(here: Host, repository: str, members: list[str], tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("needs docker's client (package docker-cli)")

    def say(*words: str) -> str:
        done = subprocess.run(
            [docker, "manifest", *words],
            capture_output=True, text=True, timeout=60, env={"DOCKER_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    say("create", "--insecure", f"{repository}:d", *members)
    say("annotate", "--arch", "arm64", "--variant", "v8", f"{repository}:d", members[1])
    here.engine.manifests.create(f"{repository}:c", members)
    here.engine.manifests.annotate(f"{repository}:c", members[1], architecture="arm64", variant="v8")
    assert say("push", "--insecure", f"{repository}:d").strip() == here.engine.manifests.push(f"{repository}:c")
    # Members of another repository.
    say("create", "--insecure", f"{repository}-list:1", *members)
    here.engine.manifests.create(f"{repository}-list:1", members)
    told: list[dict[str, Any]] = []
    digest = here.engine.manifests.push(f"{repository}-list:1", progress=told.append)
    lines = say("push", "--insecure", f"{repository}-list:1").splitlines()
    assert lines == [*(event["text"] for event in told), digest]
    assert here.engine.manifests.inspect(f"{repository}:d")["mediaType"] == types.OCI_INDEX
