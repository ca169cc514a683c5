"""Pull and push against a real registry."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cais.engine.push import parse_compression
from cais.errors import Invalid, NotFound
from cais.image.attestations import Attestation, store_attestations
from cais.spec import media_types as types
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform
from cais.spec.reference import Reference
from http_server import Request, serving
from image_hosts import Asked, Host, tar
from registry_process import OCI_MANIFEST, digest_of, registry_process
from registry_servers import Server

pytestmark = pytest.mark.root


def test_what_is_pushed_is_pulled(here: Host, there: Host, repository: str) -> None:
    local = here.image(f"{repository}:1", {"greeting": b"hello"}, {"second": os.urandom(200_000)})
    pushed = here.push(f"{repository}:1")
    assert pushed.digest != local.digest  # its layers were packed
    # The name's digest is the registry's from now on.
    assert here.engine.images.get(f"{repository}:1").digest == pushed.digest
    pulled = there.pull(f"{repository}:1")
    assert (pulled.digest, pulled.is_newer) == (pushed.digest, True)
    assert pulled.id == here.engine.images.get(f"{repository}:1").id
    assert there.file(f"{repository}:1", "greeting") == b"hello"
    assert [row.tag for row in there.engine.images.list()] == ["1"]


def test_a_second_pull_fetches_nothing(here: Host, there: Host, repository: str, open_registry: Server) -> None:
    here.image(f"{repository}:1", {"a": b"a"})
    here.push(f"{repository}:1")
    there.pull(f"{repository}:1")
    with Asked(open_registry) as asked:
        assert not there.pull(f"{repository}:1").is_newer
    assert not asked.of("GET", "/manifests/") and not asked.of("GET", "/blobs/")
    assert len(asked.of("HEAD", "/manifests/1")) == 1


def test_a_second_push_sends_nothing(here: Host, repository: str, open_registry: Server) -> None:
    here.image(f"{repository}:1", {"a": b"a"})
    first = here.push(f"{repository}:1")
    with Asked(open_registry) as asked:
        assert here.push(f"{repository}:1").digest == first.digest
    assert not asked.of("POST") and not asked.of("PATCH") and not asked.of("HEAD", "/blobs/")


def test_a_layer_is_sent_while_it_is_compressed(
    here: Host, there: Host, repository: str, open_registry: Server
) -> None:
    layers = [{"a": os.urandom(5 << 20)}, {"b": b"small"}, {"c": os.urandom(6 << 20)}]
    here.image(f"{repository}:1", *layers)
    with Asked(open_registry) as asked:
        pushed = here.push(f"{repository}:1")
    assert len(asked.of("PATCH", "/blobs/uploads/")) == 2
    assert not asked.of("HEAD", "/blobs/") and not asked.of("GET", "/manifests/")  # there is nothing, as was seen
    assert len(asked.of("POST", "/blobs/uploads/")) == 4  # once each, with the small layer and the config
    assert there.pull(f"{repository}:1").digest == pushed.digest
    assert there.file(f"{repository}:1", "c") == layers[2]["c"]


def test_what_may_be_there_is_not_sent_while_it_is_compressed(
    here: Host, there: Host, repository: str, open_registry: Server
) -> None:
    layer = {"a": os.urandom(5 << 20)}
    here.image(f"{repository}:1", layer)
    here.push(f"{repository}:1")
    # The same layer, made and compressed elsewhere.
    there.image(f"{repository}:2", layer, {"b": b"another"})
    with Asked(open_registry) as asked:
        there.push(f"{repository}:2")
    assert not asked.of("PATCH") and len(asked.of("PUT", "/blobs/uploads/")) == 2


def test_a_stream_that_breaks_is_pushed_as_others(
    here: Host, there: Host, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cais.engine.push_streams import _Stream

    monkeypatch.setattr(_Stream, "_pieces", lambda self: iter((b"half",)))
    layer = {"a": os.urandom(5 << 20)}
    here.image(f"{repository}:1", layer)
    here.push(f"{repository}:1")
    there.pull(f"{repository}:1")
    assert there.file(f"{repository}:1", "a") == layer["a"]


def test_one_new_layer_of_fifty(here: Host, repository: str, open_registry: Server) -> None:
    layers = [{f"file{number}": os.urandom(100)} for number in range(50)]
    here.image(f"{repository}:1", *layers)
    here.push(f"{repository}:1")
    here.image(f"{repository}:1", *layers[:49], {"new": b"new"})
    with Asked(open_registry) as asked:
        here.push(f"{repository}:1")
    uploads = asked.of("PUT", "/blobs/uploads/")
    assert len(uploads) == 2  # the layer and the config
    of_the_layer = 3
    assert len(asked.requests) - of_the_layer <= 5, asked.requests


def test_a_blob_that_the_registry_has_lost_is_sent_again(
    here: Host, there: Host, repository: str, open_registry: Server
) -> None:
    here.image(f"{repository}:1", {"a": b"a"})
    pushed = here.push(f"{repository}:1")
    layer = here.engine.images.get(f"{repository}:1").manifest.layers[0]
    links = open_registry.directory / "data/docker/registry/v2/repositories" / repository.partition("/")[2]
    os.unlink(links / "_layers/sha256" / layer.digest.hex / "link")
    os.unlink(links / "_manifests/revisions/sha256" / pushed.digest.hex / "link")
    assert here.push(f"{repository}:1").digest == pushed.digest
    assert there.pull(f"{repository}:1").digest == pushed.digest


def test_to_another_repository_layers_are_mounted(here: Host, repository: str, open_registry: Server) -> None:
    here.image(f"{repository}:1", {"a": os.urandom(100_000)})
    here.push(f"{repository}:1")
    here.engine.images.tag(f"{repository}:1", f"{repository}-copy:1")
    events: list[dict[str, Any]] = []
    with Asked(open_registry) as asked:
        here.push(f"{repository}-copy:1", progress=events.append)
    assert len(asked.of("POST", "mount=")) == 2 and not asked.of("PUT", "/blobs/")
    assert [event["state"] for event in events if event["event"] == "layer"] == ["waiting", "mounted"]


def test_of_an_index_the_platform_that_is_wanted(here: Host, there: Host, repository: str) -> None:
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = here.push(f"{repository}:1")
    first, second = Index.decode(here.stores.content.read(pushed.digest)).manifests
    pulled = there.pull(f"{repository}:1", platform=Platform("linux", "amd64"))
    # The repository digest is the registry's, and only what is needed came.
    assert pulled.digest == pushed.digest
    assert there.has(first.digest) and not there.has(second.digest)
    assert there.file(f"{repository}:1", "arch") == b"amd64"
    assert there.pull(f"{repository}:1", platform=Platform("linux", "arm64")).is_newer
    assert there.has(second.digest)
    assert not there.pull(f"{repository}:1", platform=Platform("linux", "arm64")).is_newer
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        there.pull(f"{repository}:1", platform=Platform("linux", "s390x"))


def test_an_index_with_attestations(here: Host, there: Host, repository: str) -> None:
    """As Docker Hub's official images are: beside each image, for an unknown platform, what was said about it."""
    content = here.stores.content
    image = here.manifest({"arch": b"amd64"})._replace(platform=Platform("linux", "amd64"))
    said = store_attestations(
        content, image.digest, ["pkg:docker/x"], [Attestation("https://slsa.dev/provenance/v1", {})]
    )
    index = Index.encode([said, image])
    content.add(index.raw)
    here.stores.images.register(index.descriptor, [Reference.parse(f"{repository}:1")])
    pushed = here.push(f"{repository}:1")
    said, image = Index.decode(content.read(pushed.digest)).manifests
    pulled = there.pull(f"{repository}:1")
    assert pulled.digest == pushed.digest
    assert there.file(f"{repository}:1", "arch") == b"amd64"
    assert there.has(image.digest) and not there.has(said.digest)
    with pytest.raises(NotFound, match="no matching manifest for linux/arm64 in the manifest list entries"):
        there.pull(f"{repository}:1", platform=Platform("linux", "arm64"))


def test_a_layer_is_unpacked_while_it_arrives(here: Host, there: Host) -> None:
    """Its second half is given out when a file of the first one is to be seen."""
    target = here.manifest({"first": b"1", "second": os.urandom(4 << 20)})
    content = here.stores.content
    manifest = Manifest.decode(content.read(target.digest))
    layer = content.read(manifest.layers[0].digest, 8 << 20)
    waited: list[bool] = []

    def answer(request: Request) -> None:
        if "/manifests/" in request.path:
            request.reply(manifest.raw, Content_Type=target.media_type, Docker_Content_Digest=target.digest)
        elif request.path.endswith(manifest.config.digest):
            request.reply(content.read(manifest.config.digest))
        elif request.path.endswith(manifest.layers[0].digest):
            request.reply(layer[: len(layer) // 2], Content_Length=str(len(layer)))
            request.wfile.flush()
            deadline = time.monotonic() + 60
            while not any(Path(there.stores.root).rglob("first")) and time.monotonic() < deadline:
                time.sleep(0.01)
            waited.append(time.monotonic() < deadline)
            request.wfile.write(layer[len(layer) // 2 :])
        else:
            request.reply()

    with serving(answer) as server:
        name = f"127.0.0.1:{server.server_address[1]}/x:1"
        there.pull(name)
    assert waited == [True], "nothing was unpacked before all of it was here"
    assert there.file(name, "first") == b"1"


def test_all_platforms(here: Host, there: Host, repository: str) -> None:
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = here.push(f"{repository}:1")
    there.pull(f"{repository}:1", all_platforms=True)
    assert all(there.has(item.digest) for item in Index.decode(here.stores.content.read(pushed.digest)).manifests)


def test_a_part_of_an_index_goes_on_as_what_it_is(here: Host, there: Host, repository: str) -> None:
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = here.push(f"{repository}:1")
    wanted = Index.decode(here.stores.content.read(pushed.digest)).manifests[0]
    there.pull(f"{repository}:1", platform=Platform("linux", "amd64"))
    there.engine.images.tag(f"{repository}:1", f"{repository}-part:1")
    events: list[dict[str, Any]] = []
    assert there.push(f"{repository}-part:1", progress=events.append).digest == wanted.digest
    assert any("linux/arm64" in str(event.get("text")) for event in events)
    # Where the registry has the rest, all of it goes on.
    there.engine.images.tag(f"{repository}:1", f"{repository}:again")
    assert there.push(f"{repository}:again").digest == pushed.digest


def test_one_platform_is_pushed_alone(here: Host, there: Host, repository: str) -> None:
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    pushed = here.push(f"{repository}:1", platform=Platform("linux", "arm64"))
    assert there.pull(f"{repository}:1").digest == pushed.digest
    assert there.engine.images.get(f"{repository}:1").config.platform == Platform("linux", "arm64")
    with pytest.raises(NotFound, match="wanted linux/amd64, actual: linux/arm64"):
        there.pull(f"{repository}:1", platform=Platform("linux", "amd64"))


def test_by_digest(here: Host, there: Host, repository: str) -> None:
    here.image(f"{repository}:1", {"a": b"a"})
    digest = here.push(f"{repository}:1").digest
    name = f"{repository}@{digest}"
    assert there.pull(name).digest == digest
    assert not there.pull(f"{repository}:1@{digest}").is_newer  # a tag beside a digest says nothing
    [row] = there.engine.images.list()
    assert (row.repository, row.tag, row.digest) == (repository, "<none>", digest)
    inspected = there.engine.images.inspect(name)
    assert (inspected["RepoTags"], inspected["RepoDigests"]) == ([], [name])
    there.pull(f"{repository}:1")
    assert [row.tag for row in there.engine.images.list()] == ["1"]
    assert ("Untagged", name) in there.engine.images.remove(name)
    assert there.engine.images.list() == []


def test_all_tags(here: Host, there: Host, repository: str) -> None:
    here.image(f"{repository}:1", {"a": b"1"})
    here.image(f"{repository}:2", {"a": b"2"})
    assert len(here.engine.images.push(repository, all_tags=True)) == 2
    assert [item.reference.tag for item in there.engine.images.pull(repository, all_tags=True)] == ["1", "2"]
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: "):
        here.engine.images.push(f"{repository}-none", all_tags=True)


def test_policies(here: Host, there: Host, repository: str, open_registry: Server) -> None:
    here.image(f"{repository}:1", {"a": b"1"})
    here.push(f"{repository}:1")
    with pytest.raises(NotFound, match="No such image"):
        there.pull(f"{repository}:1", policy="never")
    assert there.pull(f"{repository}:1", policy="missing").is_newer
    with Asked(open_registry) as asked:
        assert not there.pull(f"{repository}:1", policy="missing").is_newer
    assert asked.requests == []
    nobody = "127.0.0.1:1/app:1"
    there.engine.images.tag(f"{repository}:1", nobody)
    assert not there.pull(nobody, policy="newer").is_newer
    with pytest.raises(Invalid, match="invalid policy 'sometimes'"):
        there.pull(nobody, policy="sometimes")


def test_what_is_not_there(here: Host, repository: str) -> None:
    with pytest.raises(NotFound, match=f"^manifest for {repository}:no not found: manifest unknown"):
        here.pull(f"{repository}:no")
    with pytest.raises(NotFound, match=f"^An image does not exist locally with the tag: {repository}$"):
        here.push(f"{repository}:1")
    here.image(f"{repository}:1", {"a": b"a"})
    with pytest.raises(NotFound, match=f"^tag does not exist: {repository}:2$"):
        here.push(f"{repository}:2")


@pytest.mark.parametrize(("text", "media_type"), [
    ("gzip:9", types.OCI_LAYER_GZIP), ("zstd", types.OCI_LAYER_ZSTD), ("none", types.OCI_LAYER)
])  # fmt: skip
def test_compression(here: Host, there: Host, repository: str, text: str, media_type: str) -> None:
    here.image(f"{repository}:1", {"a": b"text " * 10_000})
    here.push(f"{repository}:1", compression=text)
    there.pull(f"{repository}:1")
    assert [layer.media_type for layer in there.engine.images.get(f"{repository}:1").manifest.layers] == [media_type]
    assert there.file(f"{repository}:1", "a") == b"text " * 10_000


def test_what_was_compressed_here_may_be_compressed_in_another_way(here: Host, there: Host, repository: str) -> None:
    here.image(f"{repository}:1", {"a": b"text " * 10_000})
    first = here.push(f"{repository}:1")
    second = here.push(f"{repository}:1", compression="zstd")
    assert first.digest != second.digest
    assert here.push(f"{repository}:1").digest == second.digest
    # What came from a registry goes on as it came.
    there.pull(f"{repository}:1")
    assert there.push(f"{repository}:1", compression="gzip").digest == second.digest


def test_events_tell_of_it(here: Host, there: Host, repository: str) -> None:
    here.image(f"{repository}:1", {"a": b"a"})
    here.push(f"{repository}:1")
    there.pull(f"{repository}:1")
    [pushed] = [event for event in here.stores.events.read() if event.action == "push"]
    [pulled] = [event for event in there.stores.events.read() if event.action == "pull"]
    assert pushed.id == pulled.id == f"{repository}:1"


@pytest.mark.parametrize("text", ["xz", "gzip:10", "zstd:", "zstd:x", "none:1", "gzip:-1"])
def test_bad_compressions(text: str) -> None:
    with pytest.raises(Invalid):
        parse_compression(text)


def test_looked_at_where_they_are(here: Host, there: Host, repository: str) -> None:
    here.index(f"{repository}:1", amd64={"arch": b"amd64"}, arm64={"arch": b"arm64"})
    digest = here.push(f"{repository}:1").digest
    images = there.engine.images
    assert images.remote_tags(repository) == ["1"]
    assert images.remote_digest(f"{repository}:1") == digest
    inspected = images.remote_inspect(f"{repository}:1", Platform("linux", "arm64"))
    assert (inspected["Architecture"], inspected["RepoDigests"]) == ("arm64", [f"{repository}@{digest}"])
    assert [item["platform"]["architecture"] for item in inspected["Manifests"]] == ["amd64", "arm64"]
    assert images.list() == []
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x"):
        images.remote_inspect(f"{repository}:1", Platform("linux", "s390x"))
    with pytest.raises(NotFound, match=f"^repository {repository}-none not found: "):
        images.remote_tags(f"{repository}-none")
    with pytest.raises(Invalid, match="names an image"):
        images.remote_tags(f"{repository}:1")


def flip(path: str) -> None:
    """Changes a byte, as somebody does who writes to the file."""
    with open(path, "r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))


def cut(path: str) -> None:
    os.truncate(path, os.path.getsize(path) - 1)


@pytest.mark.parametrize("damage", [flip, cut, os.unlink])
def test_what_is_damaged_here_comes_again(
    damage: Any, here: Host, there: Host, repository: str, open_registry: Server
) -> None:
    name = f"{repository}:1"
    here.image(name, {"a": os.urandom(10_000)}, {"b": os.urandom(20_000)})
    here.push(name)
    there.pull(name)
    manifest = there.engine.images.get(name).manifest
    for item in (*manifest.children, manifest.descriptor):
        path = there.stores.content.path(item.digest)
        os.chmod(path, 0o600)
        damage(path)
        with Asked(open_registry) as asked:
            there.pull(name)
        assert len(asked.of("GET", "/blobs/")) == (item in manifest.children)
        assert there.engine.system.check() == []


def test_what_looks_sound_and_is_not_comes_again(
    here: Host, there: Host, repository: str, open_registry: Server
) -> None:
    name = f"{repository}:1"
    here.image(name, {"a": b"a" * 10_000}, {"b": os.urandom(20_000)})
    here.push(name)
    sound, rotten = here.engine.images.get(name).manifest.layers
    for layer in (sound, rotten):
        there.stores.content.add(b"".join(here.stores.content.fetch(layer)))
    path = there.stores.content.path(rotten.digest)
    before = os.stat(path)
    os.chmod(path, 0o600)
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with Asked(open_registry) as asked:
        there.pull(name)
    fetched = [request for request in asked.of("GET", "/blobs/") if sound.digest in request or rotten.digest in request]
    assert len(fetched) == 1 and rotten.digest in fetched[0]
    assert there.engine.system.check() == []


def test_another_algorithm_for_everything(here: Host, there: Host, repository: str, tmp_path: Path) -> None:
    """Manifest, config, layer and diff_id are named by their sha512."""
    plain = tar({"file": b"content"})
    layer = gzip.compress(plain)
    diff_ids = [digest_of(plain, "sha512")]
    config = json.dumps({**Platform("linux", "amd64").to_json(), "rootfs": {"type": "layers", "diff_ids": diff_ids}})

    def described(data: bytes, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest_of(data, "sha512"), "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(config.encode(), types.OCI_CONFIG),
        "layers": [described(layer, types.OCI_LAYER_GZIP)],
    }
    raw = json.dumps(document).encode()
    digest = digest_of(raw, "sha512")
    with registry_process(tmp_path / "registry") as server:
        for data in (config.encode(), layer):
            path = f"/v2/app/blobs/uploads/?digest={digest_of(data, 'sha512')}"
            assert server.request("POST", path, data).status == 201
        path = f"/v2/app/manifests/{digest}?tag=1"
        assert server.request("PUT", path, raw, {"Content-Type": OCI_MANIFEST}).status == 201
        app, other = f"{server.address}/app", f"{server.address}/other"
        assert here.pull(f"{app}:1").digest == digest
        assert not here.pull(f"{app}@{digest}").is_newer
        assert here.file(f"{app}:1", "file") == b"content"
        here.engine.images.tag(f"{app}:1", f"{other}:1")
        assert here.push(f"{other}:1", platform=Platform("linux", "amd64")).digest == digest
        assert there.pull(f"{other}:1").digest == digest
        assert there.file(f"{other}:1", "file") == b"content"
    # A registry that knows manifests by their sha256 alone.
    here.engine.images.tag(f"{app}:1", f"{repository}:1")
    here.push(f"{repository}:1")
    assert there.pull(f"{repository}:1").digest == digest_of(raw)
    assert there.file(f"{repository}:1", "file") == b"content"
