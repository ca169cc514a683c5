"""Indexes put together and looked at in registries; nothing comes to this host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cais
from cais.engine.imagetools import CreateOptions
from cais.errors import CaisError, Invalid, NotFound
from cais.spec.platform import Platform
from cais.spec.reference import Reference

pytestmark = pytest.mark.root

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])}


@pytest.fixture
def images(here, repository) -> dict[str, str]:
    """Two images of a repository, one for each platform: their digests."""
    found = {}
    for name in ("amd64", "arm64"):
        here.image(f"{repository}:{name}", {"arch": name.encode()}, platform=f"linux/{name}")
        found[name] = here.push(f"{repository}:{name}").digest
    return found


def made(host: Any, *sources: str, **options: Any) -> dict[str, Any]:
    return json.loads(host.engine.imagetools.create(CreateOptions(sources=sources, **options)))


def test_an_index_of_two_images(here, there, repository, images):
    index = made(here, f"{repository}:amd64", f"{repository}:arm64", tags=[f"{repository}:1", f"{repository}-other:2"])
    assert [item["digest"] for item in index["manifests"]] == list(images.values())
    assert [item["platform"]["architecture"] for item in index["manifests"]] == ["amd64", "arm64"]
    # Both places have all of it.
    for name in (f"{repository}:1", f"{repository}-other:2"):
        there.pull(name, platform=Platform("linux", "arm64"))
        assert there.file(name, "arch") == b"arm64"
    assert here.stores.database.row("SELECT count(*) FROM images")[0] == 2


def test_appending_annotating_and_looking_only(here, repository, images):
    alone = made(here, f"{repository}:amd64", tags=[f"{repository}:1"])
    assert len(alone["manifests"]) == 1
    grown = made(here, f"{repository}:arm64", tags=[f"{repository}:1"], append=True)
    assert [item["digest"] for item in grown["manifests"]] == list(images.values())
    notes = ["index:a=b", "manifest-descriptor[linux/arm64]:c=d"]
    seen = made(here, f"{repository}:1", dry_run=True, annotations=notes)
    assert seen["annotations"] == {"a": "b"}
    assert [item.get("annotations") for item in seen["manifests"]] == [None, {"c": "d"}]
    assert made(here, f"{repository}:1", dry_run=True) == grown  # nothing was written
    # An index alone is passed on as it is, to the byte.
    tools = here.engine.imagetools
    tools.create(CreateOptions(sources=[f"{repository}:1"], tags=[f"{repository}-copy:1"]))
    assert tools.read(f"{repository}-copy:1").raw == tools.read(f"{repository}:1").raw


def test_digests_and_descriptors(here, repository, images):
    one, two = images.values()
    index = made(here, one, json.dumps({"digest": two, "size": 1, "annotations": {"x": "y"}}), tags=[f"{repository}:1"])
    assert [item["digest"] for item in index["manifests"]] == [one, two]
    assert index["manifests"][1]["annotations"] == {"x": "y"} and index["manifests"][1]["size"] > 1


def test_what_cannot_be_made(here, repository, images):
    for options, message in (
        ({"sources": [f"{repository}:amd64"]}, "can't push with no tags specified"),
        ({"dry_run": True}, "no sources specified"),
        ({"sources": ["A B"], "dry_run": True}, "failed to parse source"),
        ({"sources": ['{"digest": 3}'], "dry_run": True}, "failed to parse source"),
        ({"sources": [images["amd64"]], "dry_run": True}, "no repositories specified"),
        ({"sources": [f"{repository}:amd64"], "dry_run": True, "annotations": ["a=b"]}, "are not supported yet"),
    ):
        with pytest.raises(Invalid, match=message):
            here.engine.imagetools.create(CreateOptions(**options))
    with pytest.raises(NotFound, match="none: not found"):
        made(here, f"{repository}:none", dry_run=True)
    with pytest.raises(CaisError):
        made(here, f"{repository}:amd64", tags=["127.0.0.1:1/x"])


def test_inspecting(here, repository, images, tmp_path):
    name = f"{repository}:1"
    index = made(here, f"{repository}:amd64", f"{repository}:arm64", tags=[name])
    digest = here.stores.registries.repository(Reference.parse(name)).resolve("1").digest

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cais", "--root", str(tmp_path / "cli"), "buildx", "imagetools", "inspect"]
        return subprocess.run([*command, *words], env=ENVIRONMENT, capture_output=True, text=True)

    def said(*words: str) -> str:
        done = run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # As buildx has it, to the blank.
    assert said(name) == (
        f"Name:      {name}\nMediaType: application/vnd.oci.image.index.v1+json\nDigest:    {digest}\n"
        f"           \nManifests: \n"
        f"  Name:        {name}@{images['amd64']}\n  MediaType:   application/vnd.oci.image.manifest.v1+json\n"
        f"  Platform:    linux/amd64\n               \n"
        f"  Name:        {name}@{images['arm64']}\n  MediaType:   application/vnd.oci.image.manifest.v1+json\n"
        f"  Platform:    linux/arm64\n"
    )
    assert json.loads(said("--raw", name)) == index
    assert said("--format", "{{.Manifest.Digest}} {{.Name}}", name) == f"{digest} {name}\n"
    both = json.loads(said("--format", "{{json .Image}}", name))
    assert {key: value["architecture"] for key, value in both.items()} == {
        "linux/amd64": "amd64",
        "linux/arm64": "arm64",
    }
    assert json.loads(said("--format", "{{json .SBOM}}", name)) is None
    alone = json.loads(said("--format", "{{json .}}", f"{repository}:amd64"))
    assert alone["image"]["os"] == "linux" and alone["manifest"]["digest"] == images["amd64"]
    missing = run(f"{repository}:none")
    assert missing.returncode == 1 and "none: not found" in missing.stderr
