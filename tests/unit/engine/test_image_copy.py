"""Image copy between all kinds of places, with a real registry; and how places are written."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from cais.engine.places import Place
from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unsupported
from cais.spec import media_types as types
from cais.spec.manifest import Index
from cais.spec.platform import Platform
from image_hosts import Asked, Host
from registry_servers import Server

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("docker://debian:12", Place("docker", "", "debian:12")),
        ("oci:some/where:tag", Place("oci", "some/where", "tag")),
        ("oci:some/where", Place("oci", "some/where", "")),
        ("oci-archive:file.tar", Place("oci-archive", "file.tar", "")),
        ("docker-archive:file.tar:app:1", Place("docker-archive", "file.tar", "app:1")),
        ("cais:oci:1", Place("cais", "", "oci:1")),
        ("localhost:5000/app:1", Place("cais", "", "localhost:5000/app:1")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert Place.parse(text) == place


@pytest.mark.parametrize(
    ("text", "kind"),
    [("dir:/x", Unsupported), ("https://x.test/y", Unsupported), ("docker:debian", Invalid), ("oci:", Invalid)],
)
def test_places_that_are_none(text: str, kind: type[CaisError]) -> None:
    with pytest.raises(kind):
        Place.parse(text)


def test_through_every_kind_of_place(here: Host, there: Host, repository: str, tmp_path: Path) -> None:
    here.index("app:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    copy = there.engine.images.copy
    # What lives as directories is packed for a registry; from there on the bytes stay the same.
    first = here.engine.images.copy("app:1", f"docker://{repository}:1")
    assert here.engine.images.get("app:1").digest != first.digest
    places = [
        f"docker://{repository}-there:2",
        f"oci:{tmp_path}/layout:v1",
        f"oci-archive:{tmp_path}/archive.tar:v1",
        "cais:here:1",
        f"docker://{repository}-back:1",
    ]
    source = f"docker://{repository}:1"
    for target in places:
        assert copy(source, target, all_platforms=True).digest == first.digest, target
        source = target
    assert there.file_of("here:1", "arch") == b"amd64"


def test_one_platform(here: Host, there: Host, repository: str, tmp_path: Path) -> None:
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = here.push(f"{repository}:1")
    wanted = Index.decode(here.stores.content.read(pushed.digest)).manifests[1]
    copied = there.engine.images.copy(f"docker://{repository}:1", "one", platform=Platform("linux", "arm64"))
    assert copied.digest == wanted.digest == there.engine.images.get("one").digest
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x"):
        there.engine.images.copy(f"docker://{repository}:1", "none", platform=Platform("linux", "s390x"))
    # Here, the platform of this here is usual, and the index stays what it was.
    assert there.engine.images.copy(f"docker://{repository}:1", "all").digest == pushed.digest


def test_between_repositories_nothing_is_sent(
    here: Host, there: Host, repository: str, open_registry: Server
) -> None:  # fmt: skip
    here.image(f"{repository}:1", {"a": b"a"})
    here.push(f"{repository}:1")
    with Asked(open_registry) as asked:
        there.engine.images.copy(f"docker://{repository}:1", f"docker://{repository}-copy:1")
    assert (
        len(asked.of("POST", "mount=")) == 2 and not asked.of("GET", "/blobs/sha256") and not asked.of("PUT", "/blobs")
    )


def test_an_archive_for_docker(here: Host, there: Host, tmp_path: Path) -> None:
    here.index("app:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    archive = tmp_path / "archive.tar"
    here.engine.images.copy("app:1", f"docker-archive:{archive}:other/app:2")
    with tarfile.open(archive) as opened:
        [entry] = json.load(opened.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert entry["RepoTags"] == ["other/app:2"]
        assert {entry["Config"], *entry["Layers"]} <= set(opened.getnames())
    assert [item.name_or_id for item in there.engine.images.load(str(archive))] == ["other/app:2"]
    assert there.file_of("other/app:2", "arch") == b"amd64"
    with pytest.raises(Invalid, match="one platform"):
        here.engine.images.copy("app:1", f"docker-archive:{archive}", all_platforms=True)


def test_a_layout_keeps_its_other_images(here: Host, tmp_path: Path) -> None:
    here.image("one", {"a": b"1"})
    here.image("two", {"a": b"2"})
    here.engine.images.copy("one", f"oci:{tmp_path}/layout:one")
    here.engine.images.copy("two", f"oci:{tmp_path}/layout:two")
    index = json.loads((tmp_path / "layout/index.json").read_bytes())
    assert len(index["manifests"]) == 2
    with pytest.raises(Invalid, match="has 2 images: say which one"):
        here.engine.images.copy(f"oci:{tmp_path}/layout", "back")
    with pytest.raises(NotFound, match="has no image 'three'"):
        here.engine.images.copy(f"oci:{tmp_path}/layout:three", "back")
    target = here.engine.images.copy(f"oci:{tmp_path}/layout:two", "back")
    assert target.digest == here.engine.images.get("two").digest


def test_nothing_is_left_of_what_is_not_what_it_says(here: Host, there: Host, tmp_path: Path) -> None:
    here.image("app", {"a": b"1"})
    here.engine.images.copy("app", f"oci:{tmp_path}/layout:app")
    layer = here.engine.images.get("app").manifest.layers[0]
    path = tmp_path / "layout/blobs/sha256" / layer.digest.hex
    path.write_bytes(bytes(len(path.read_bytes())))
    for target in ("app", f"oci:{tmp_path}/other:app", f"oci-archive:{tmp_path}/other.tar"):
        with pytest.raises(Corrupt):
            there.engine.images.copy(f"oci:{tmp_path}/layout:app", target)
    assert there.engine.images.list() == []
    assert not (tmp_path / "other.tar").exists() and not (tmp_path / "other/index.json").exists()
    assert [item.name for item in tmp_path.glob("*.partial")] == []


def test_formats(here: Host, there: Host, repository: str, tmp_path: Path) -> None:
    here.index("app:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    copy = there.engine.images.copy
    first = here.engine.images.copy("app:1", f"docker://{repository}:1")
    docker = copy(f"docker://{repository}:1", f"docker://{repository}:docker", format="docker")
    assert (docker.media_type, docker.digest != first.digest) == (types.DOCKER_INDEX, True)
    pulled = there.pull(f"{repository}:docker", platform=Platform("linux", "amd64"))
    manifest = there.engine.images.get(f"{repository}:docker").manifest
    assert pulled.digest == docker.digest
    assert [layer.media_type for layer in manifest.layers] == [types.DOCKER_LAYER_GZIP]
    # A layout gets OCI's types, and with them what it was.
    assert copy(f"docker://{repository}:docker", f"oci:{tmp_path}/layout:1").digest == first.digest
    kept = copy(f"docker://{repository}:docker", f"oci:{tmp_path}/layout:2", preserve_digests=True)
    assert kept.digest == docker.digest
    assert copy(f"docker://{repository}:docker", "here:1", format="oci").digest == first.digest
    assert there.file_of("here:1", "arch") == b"amd64"
    with pytest.raises(Invalid, match="cannot be preserved"):
        copy(f"docker://{repository}:1", "x", format="docker", preserve_digests=True)
    here.image("zstd", {"a": b"a"})
    here.engine.images.tag("zstd", f"{repository}:zstd")
    here.push(f"{repository}:zstd", compression="zstd")
    with pytest.raises(Invalid, match="cannot be in Docker's format"):
        copy(f"docker://{repository}:zstd", "x", format="docker")
