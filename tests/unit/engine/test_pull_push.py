"""Pull and push against a real registry."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cais.engine import Engine, Settings
from cais.engine.push import parse_compression
from cais.errors import Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform
from cais.spec.reference import Reference
from registry_servers import Server

pytestmark = pytest.mark.root


class Host:
    """One root directory."""

    def __init__(self, root: Path) -> None:
        self.engine = Engine(Settings(str(root), driver="copies"), {})
        self.stores = self.engine._stores

    def image(self, name: str, *layers: dict[str, bytes], platform: str = "linux/amd64") -> Descriptor:
        """An image whose layers are plain tars, as those that are built here."""
        target = self.manifest(*layers, platform=platform)
        self.stores.images.register(target, [Reference.parse(name)])
        return target

    def manifest(self, *layers: dict[str, bytes], platform: str = "linux/amd64") -> Descriptor:
        content, descriptors = self.stores.content, []
        for files in layers:
            raw = tar(files)
            descriptors.append(Descriptor(types.OCI_LAYER, content.add(raw), len(raw)))
        config = ImageConfig(
            {
                **Platform.parse(platform).to_json(),
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [item.digest for item in descriptors]},
            }
        )
        content.add(config.raw)
        manifest = Manifest.encode(config.descriptor, descriptors)
        content.add(manifest.raw)
        return manifest.descriptor

    def index(self, name: str, **platforms: dict[str, bytes]) -> Descriptor:
        """An image for ``linux/<name of the argument>`` each."""
        children = []
        for architecture, files in platforms.items():
            platform = Platform("linux", architecture)
            children.append(self.manifest(files, platform=str(platform))._replace(platform=platform))
        index = Index.encode(children)
        self.stores.content.add(index.raw)
        self.stores.images.register(index.descriptor, [Reference.parse(name)])
        return index.descriptor

    def push(self, name: str, **options: Any) -> Any:
        return self.engine.images.push(name, **options)[-1]

    def pull(self, name: str, **options: Any) -> Any:
        return self.engine.images.pull(name, **options)[-1]

    def file(self, name: str, path: str) -> bytes:
        chain = self.engine.images.get(name).chain
        return Path(self.stores.snapshots.directories(chain)[0], "fs", path).read_bytes()

    def has(self, digest: str) -> bool:
        return self.stores.content.size_of(Digest(digest)) is not None


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "here")
    yield made
    made.engine.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "there")
    yield made
    made.engine.close()


@pytest.fixture
def repository(open_registry: Server, request: pytest.FixtureRequest) -> str:
    """One of this test's own."""
    return f"{open_registry.address}/{request.node.originalname}-{os.urandom(4).hex()}"


class Asked:
    """The requests that a registry answered within the block."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> Asked:
        self._before = len(self._server.requests())
        return self

    def __exit__(self, *_: object) -> None:
        self.requests = self._server.requests()[self._before :]

    def of(self, method: str, part: str = "") -> list[str]:
        return [request for request in self.requests if request.startswith(method + " ") and part in request]


def test_what_is_pushed_is_pulled(host: Host, other: Host, repository: str) -> None:
    local = host.image(f"{repository}:1", {"greeting": b"hello"}, {"second": os.urandom(200_000)})
    pushed = host.push(f"{repository}:1")
    assert pushed.digest != local.digest  # its layers were packed
    # The name's digest is the registry's from now on.
    assert host.engine.images.get(f"{repository}:1").digest == pushed.digest
    pulled = other.pull(f"{repository}:1")
    assert (pulled.digest, pulled.is_newer) == (pushed.digest, True)
    assert pulled.id == host.engine.images.get(f"{repository}:1").id
    assert other.file(f"{repository}:1", "greeting") == b"hello"
    assert [row.tag for row in other.engine.images.list()] == ["1"]


def test_a_second_pull_fetches_nothing(host: Host, other: Host, repository: str, open_registry: Server) -> None:
    host.image(f"{repository}:1", {"a": b"a"})
    host.push(f"{repository}:1")
    other.pull(f"{repository}:1")
    with Asked(open_registry) as asked:
        assert not other.pull(f"{repository}:1").is_newer
    assert not asked.of("GET", "/manifests/") and not asked.of("GET", "/blobs/")
    assert len(asked.of("HEAD", "/manifests/1")) == 1


def test_a_second_push_sends_nothing(host: Host, repository: str, open_registry: Server) -> None:
    host.image(f"{repository}:1", {"a": b"a"})
    first = host.push(f"{repository}:1")
    with Asked(open_registry) as asked:
        assert host.push(f"{repository}:1").digest == first.digest
    assert not asked.of("POST") and not asked.of("PATCH") and not asked.of("HEAD", "/blobs/")


def test_one_new_layer_of_fifty(host: Host, repository: str, open_registry: Server) -> None:
    layers = [{f"file{number}": os.urandom(100)} for number in range(50)]
    host.image(f"{repository}:1", *layers)
    host.push(f"{repository}:1")
    host.image(f"{repository}:1", *layers[:49], {"new": b"new"})
    with Asked(open_registry) as asked:
        host.push(f"{repository}:1")
    uploads = asked.of("PUT", "/blobs/uploads/")
    assert len(uploads) == 2  # the layer and the config
    of_the_layer = 3
    assert len(asked.requests) - of_the_layer <= 5, asked.requests


def test_a_blob_that_the_registry_has_lost_is_sent_again(
    host: Host, other: Host, repository: str, open_registry: Server
) -> None:
    host.image(f"{repository}:1", {"a": b"a"})
    pushed = host.push(f"{repository}:1")
    layer = host.engine.images.get(f"{repository}:1").manifest.layers[0]
    links = open_registry.directory / "data/docker/registry/v2/repositories" / repository.partition("/")[2]
    os.unlink(links / "_layers/sha256" / layer.digest.hex / "link")
    os.unlink(links / "_manifests/revisions/sha256" / pushed.digest.hex / "link")
    assert host.push(f"{repository}:1").digest == pushed.digest
    assert other.pull(f"{repository}:1").digest == pushed.digest


def test_to_another_repository_layers_are_mounted(host: Host, repository: str, open_registry: Server) -> None:
    host.image(f"{repository}:1", {"a": os.urandom(100_000)})
    host.push(f"{repository}:1")
    host.engine.images.tag(f"{repository}:1", f"{repository}-copy:1")
    events: list[dict[str, Any]] = []
    with Asked(open_registry) as asked:
        host.push(f"{repository}-copy:1", progress=events.append)
    assert len(asked.of("POST", "mount=")) == 2 and not asked.of("PUT", "/blobs/")
    assert [event["state"] for event in events if event["event"] == "layer"] == ["waiting", "mounted"]


def test_of_an_index_the_platform_that_is_wanted(host: Host, other: Host, repository: str) -> None:
    host.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = host.push(f"{repository}:1")
    first, second = Index.decode(host.stores.content.read(pushed.digest)).manifests
    pulled = other.pull(f"{repository}:1", platform=Platform("linux", "amd64"))
    # The repository digest is the registry's, and only what is needed came.
    assert pulled.digest == pushed.digest
    assert other.has(first.digest) and not other.has(second.digest)
    assert other.file(f"{repository}:1", "arch") == b"amd64"
    assert other.pull(f"{repository}:1", platform=Platform("linux", "arm64")).is_newer
    assert other.has(second.digest)
    assert not other.pull(f"{repository}:1", platform=Platform("linux", "arm64")).is_newer
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        other.pull(f"{repository}:1", platform=Platform("linux", "s390x"))


def test_all_platforms(host: Host, other: Host, repository: str) -> None:
    host.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = host.push(f"{repository}:1")
    other.pull(f"{repository}:1", all_platforms=True)
    assert all(other.has(item.digest) for item in Index.decode(host.stores.content.read(pushed.digest)).manifests)


def test_a_part_of_an_index_goes_on_as_what_it_is(host: Host, other: Host, repository: str) -> None:
    host.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = host.push(f"{repository}:1")
    wanted = Index.decode(host.stores.content.read(pushed.digest)).manifests[0]
    other.pull(f"{repository}:1", platform=Platform("linux", "amd64"))
    other.engine.images.tag(f"{repository}:1", f"{repository}-part:1")
    events: list[dict[str, Any]] = []
    assert other.push(f"{repository}-part:1", progress=events.append).digest == wanted.digest
    assert any("linux/arm64" in str(event.get("text")) for event in events)
    # Where the registry has the rest, all of it goes on.
    other.engine.images.tag(f"{repository}:1", f"{repository}:again")
    assert other.push(f"{repository}:again").digest == pushed.digest


def test_one_platform_is_pushed_alone(host: Host, other: Host, repository: str) -> None:
    host.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = host.push(f"{repository}:1", platform=Platform("linux", "arm64"))
    assert other.pull(f"{repository}:1").digest == pushed.digest
    assert other.engine.images.get(f"{repository}:1").config.platform == Platform("linux", "arm64")
    with pytest.raises(NotFound, match="wanted linux/amd64, actual: linux/arm64"):
        other.pull(f"{repository}:1", platform=Platform("linux", "amd64"))


def test_by_digest(host: Host, other: Host, repository: str) -> None:
    host.image(f"{repository}:1", {"a": b"a"})
    digest = host.push(f"{repository}:1").digest
    name = f"{repository}@{digest}"
    assert other.pull(name).digest == digest
    assert not other.pull(f"{repository}:1@{digest}").is_newer  # a tag beside a digest says nothing
    [row] = other.engine.images.list()
    assert (row.repository, row.tag, row.digest) == (repository, "<none>", digest)
    inspected = other.engine.images.inspect(name)
    assert (inspected["RepoTags"], inspected["RepoDigests"]) == ([], [name])
    other.pull(f"{repository}:1")
    assert [row.tag for row in other.engine.images.list()] == ["1"]
    assert ("Untagged", name) in other.engine.images.remove(name)
    assert other.engine.images.list() == []


def test_all_tags(host: Host, other: Host, repository: str) -> None:
    host.image(f"{repository}:1", {"a": b"1"})
    host.image(f"{repository}:2", {"a": b"2"})
    assert len(host.engine.images.push(repository, all_tags=True)) == 2
    assert [item.reference.tag for item in other.engine.images.pull(repository, all_tags=True)] == ["1", "2"]
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: "):
        host.engine.images.push(f"{repository}-none", all_tags=True)


def test_policies(host: Host, other: Host, repository: str, open_registry: Server) -> None:
    host.image(f"{repository}:1", {"a": b"1"})
    host.push(f"{repository}:1")
    with pytest.raises(NotFound, match="No such image"):
        other.pull(f"{repository}:1", policy="never")
    assert other.pull(f"{repository}:1", policy="missing").is_newer
    with Asked(open_registry) as asked:
        assert not other.pull(f"{repository}:1", policy="missing").is_newer
    assert asked.requests == []
    nobody = "127.0.0.1:1/app:1"
    other.engine.images.tag(f"{repository}:1", nobody)
    assert not other.pull(nobody, policy="newer").is_newer
    with pytest.raises(Invalid, match="invalid policy 'sometimes'"):
        other.pull(nobody, policy="sometimes")


def test_what_is_not_there(host: Host, repository: str) -> None:
    with pytest.raises(NotFound, match=f"^manifest for {repository}:no not found: manifest unknown"):
        host.pull(f"{repository}:no")
    with pytest.raises(NotFound, match=f"^An image does not exist locally with the tag: {repository}$"):
        host.push(f"{repository}:1")
    host.image(f"{repository}:1", {"a": b"a"})
    with pytest.raises(NotFound, match=f"^tag does not exist: {repository}:2$"):
        host.push(f"{repository}:2")


@pytest.mark.parametrize(("text", "media_type"), [
    ("gzip:9", types.OCI_LAYER_GZIP), ("zstd", types.OCI_LAYER_ZSTD), ("none", types.OCI_LAYER)
])  # fmt: skip
def test_compression(host: Host, other: Host, repository: str, text: str, media_type: str) -> None:
    host.image(f"{repository}:1", {"a": b"text " * 10_000})
    host.push(f"{repository}:1", compression=text)
    other.pull(f"{repository}:1")
    assert [layer.media_type for layer in other.engine.images.get(f"{repository}:1").manifest.layers] == [media_type]
    assert other.file(f"{repository}:1", "a") == b"text " * 10_000


def test_what_was_compressed_here_may_be_compressed_in_another_way(host: Host, other: Host, repository: str) -> None:
    host.image(f"{repository}:1", {"a": b"text " * 10_000})
    first = host.push(f"{repository}:1")
    second = host.push(f"{repository}:1", compression="zstd")
    assert first.digest != second.digest
    assert host.push(f"{repository}:1").digest == second.digest
    # What came from a registry goes on as it came.
    other.pull(f"{repository}:1")
    assert other.push(f"{repository}:1", compression="gzip").digest == second.digest


def test_events_tell_of_it(host: Host, other: Host, repository: str) -> None:
    host.image(f"{repository}:1", {"a": b"a"})
    host.push(f"{repository}:1")
    other.pull(f"{repository}:1")
    [pushed] = [event for event in host.stores.events.read() if event.action == "push"]
    [pulled] = [event for event in other.stores.events.read() if event.action == "pull"]
    assert pushed.id == pulled.id == f"{repository}:1"


@pytest.mark.parametrize("text", ["xz", "gzip:10", "zstd:", "zstd:x", "none:1", "gzip:-1"])
def test_bad_compressions(text: str) -> None:
    with pytest.raises(Invalid):
        parse_compression(text)
