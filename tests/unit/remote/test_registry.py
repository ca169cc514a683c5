"""One repository at a real registry: Debian's docker-registry, and our own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unauthorized, Unavailable
from cais.remote.credentials import Login
from cais.remote.endpoint import endpoint_of
from cais.remote.listing import repositories, search
from cais.remote.referrers import referrers
from cais.remote.registry import BlobsMissing, Registry
from cais.remote.transport import Transport
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.manifest import Index, Manifest
from faulty_tcp import losing
from registry_process import RegistryProcess
from registry_servers import PASSWORD, USER, Server, free_port

LAYER = types.OCI_LAYER


def described(data: bytes, media_type: str = LAYER) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


class Bytes:
    """A Source of what it was given."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {Digest.of(data): data for data in blobs}

    def exists(self, blob: Descriptor) -> bool:
        return blob.digest in self.blobs

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        data = self.blobs[blob.digest][offset:]
        return iter([data[start : start + 65536] for start in range(0, len(data), 65536)])


@pytest.fixture(scope="module", params=["open_registry", "cais_registry"])
def server(request: pytest.FixtureRequest) -> Server:
    """Every one there is: what is tested is what they have in common."""
    found: Server = request.getfixturevalue(request.param)
    return found


def repository(server: Server, name: str, login: Login | None = None) -> Registry:
    return Registry(Transport(endpoint_of(server.address), lambda: login), name, pushing=True)


def pushed(registry: Registry, *layers: bytes, tag: str = "") -> Descriptor:
    """An image of these layers."""
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    for data in (config, *layers):
        registry.take(described(data), Bytes(data))
    manifest = Manifest.encode(described(config, types.OCI_CONFIG), [described(data) for data in layers])
    return registry.put_manifest(manifest.raw, manifest.media_type, tag)


def test_one_thread_needs_one_connection(server: Server) -> None:
    with losing(int(server.address.rpartition(":")[2])) as proxy:
        registry = Registry(Transport(endpoint_of(f"127.0.0.1:{proxy.port}")), "connections/here", pushing=True)
        data = os.urandom(3_000_000)
        target = pushed(registry, data, tag="1")
        assert registry.resolve("1").digest == target.digest and registry.exists(described(data))
        assert not registry.exists(described(b"other"))
        assert b"".join(registry.fetch(described(data))) == data
        assert registry.manifest("1").descriptor.digest == target.digest
        with pytest.raises(NotFound):
            registry.manifest("2")
        assert proxy.accepted == 1
        registry.transport.close()


def test_a_blob_is_sent_before_its_digest_is_known(server: Server) -> None:
    registry = repository(server, "blobs/streamed")
    assert registry.is_empty()
    data = os.urandom(5_000_000)
    stream = registry.streamed()
    stream.send(data[start : start + 300_000] for start in range(0, len(data), 300_000))
    assert not registry.exists(described(data))
    stream.end(described(data))
    assert b"".join(registry.fetch(described(data))) == data
    pushed(registry, data, tag="1")
    assert not registry.is_empty()


def test_what_is_streamed_and_not_what_it_should_be_is_not_stored(server: Server) -> None:
    registry = repository(server, "blobs/streamed")
    stream = registry.streamed()
    stream.send(iter([b"something"]))
    with pytest.raises(CaisError):
        stream.end(described(b"something else"))
    assert not registry.exists(described(b"something else"))


def test_a_blob_comes_back_as_it_went(server: Server) -> None:
    registry = repository(server, "blobs/here")
    data = os.urandom(3_000_000)
    blob = described(data)
    assert not registry.exists(blob)
    assert registry.take(blob, Bytes(data)) == ""
    assert registry.exists(blob)
    assert b"".join(registry.fetch(blob)) == data
    assert b"".join(registry.fetch(blob, 2_999_990)) == data[-10:]


def test_an_empty_blob(server: Server) -> None:
    registry = repository(server, "blobs/empty")
    registry.take(described(b""), Bytes(b""))
    assert b"".join(registry.fetch(described(b""))) == b""


def test_pieces_that_come_once_are_pushed_in_one_go(server: Server) -> None:
    registry = repository(server, "blobs/once")
    registry.push(described(b"some data"), iter([b"some ", b"data"]))
    assert b"".join(registry.fetch(described(b"some data"))) == b"some data"


def test_bytes_that_are_not_their_digest_are_refused(server: Server) -> None:
    registry = repository(server, "blobs/wrong")
    said = Descriptor(LAYER, Digest.of(b"other"), 4)
    for pieces in ([b"data"], [b"da"], [b"data", b"more"]):
        with pytest.raises(Corrupt):
            registry.push(said, iter(pieces))
    assert not registry.exists(said)


def test_a_blob_of_another_size_is_not_believed(server: Server) -> None:
    registry = repository(server, "blobs/size")
    registry.push(described(b"data"), iter([b"data"]))
    with pytest.raises(Corrupt):
        registry.exists(described(b"data")._replace(size_bytes=5))


def test_what_is_not_there_is_not_found(server: Server) -> None:
    registry = repository(server, "nothing/here")
    with pytest.raises(NotFound):
        next(registry.fetch(described(b"never stored")))
    with pytest.raises(NotFound, match="manifest unknown"):
        registry.resolve("latest")
    with pytest.raises(NotFound, match="manifest unknown: manifest unknown"):
        registry.manifest("latest")
    with pytest.raises(NotFound):
        list(registry.tags())


def test_a_manifest_keeps_its_bytes(server: Server) -> None:
    registry = repository(server, "manifests/kept")
    config = b"{}"
    registry.take(described(config), Bytes(config))
    raw = (
        b'{ "schemaVersion": 2,\n "unknown": [1, 2],  "mediaType": "%s", "config": {"mediaType":"%s","digest":"%s",'
        b'"size":2}, "layers": []}\n'
        % (types.OCI_MANIFEST.encode(), types.OCI_CONFIG.encode(), Digest.of(b"{}").encode())
    )
    stored = registry.put_manifest(raw, types.OCI_MANIFEST, "v1")
    assert stored == described(raw, types.OCI_MANIFEST)
    assert registry.resolve("v1") == stored
    assert registry.resolve(stored.digest) == stored
    assert registry.manifest("v1").raw == raw
    assert b"".join(registry.fetch(stored)) == raw
    assert registry.exists(stored)


def test_an_index_of_two(server: Server) -> None:
    registry = repository(server, "manifests/index")
    index = Index.encode([pushed(registry, b"one"), pushed(registry, b"two")])
    registry.put_manifest(index.raw, index.media_type, "both")
    document = registry.manifest("both")
    assert document.descriptor == index.descriptor
    assert len(Index.decode(document.raw, document.descriptor.media_type).manifests) == 2


def test_a_manifest_whose_layers_are_missing(server: Server) -> None:
    registry = repository(server, "manifests/early")
    manifest = Manifest.encode(described(b"no config", types.OCI_CONFIG), [described(b"no layer")])
    with pytest.raises(BlobsMissing):
        registry.put_manifest(manifest.raw, manifest.media_type, "early")


def test_tags_come_in_pages(cais_registry: RegistryProcess) -> None:
    registry = Registry(Transport(endpoint_of(cais_registry.address)), "many/pages", pushing=True)
    image = pushed(registry, b"layer")
    raw = registry.manifest(image.digest).raw
    names = [f"v{number}" for number in range(7)]
    for name in names:
        registry.put_manifest(raw, image.media_type, name)
    assert list(registry.tags(page=3)) == names


def test_referrers(server: Server) -> None:
    """By the API of ours, under a tag in docker-registry, which has none."""
    registry = repository(server, "with/referrers")
    subject = pushed(registry, b"layer", tag="v1")
    assert referrers(registry, subject.digest) == []
    empty = b"{}"
    registry.take(described(empty), Bytes(empty))
    found = {}
    for kind in ("application/vnd.test.sbom", "application/vnd.test.signature"):
        raw = encode({
            "schemaVersion": 2, "mediaType": types.OCI_MANIFEST, "artifactType": kind,
            "config": described(empty, types.OCI_EMPTY).to_json(), "layers": [], "subject": subject.to_json(),
            "annotations": {"kind": kind},
        })  # fmt: skip
        found[kind] = registry.put_manifest(raw, types.OCI_MANIFEST)
        registry.put_manifest(raw, types.OCI_MANIFEST)  # again: it is listed once
    listed = referrers(registry, subject.digest)
    assert {item.artifact_type: item.digest for item in listed} == {kind: item.digest for kind, item in found.items()}
    assert len(listed) == 2
    assert listed[0].annotations == {"kind": listed[0].artifact_type}
    only = referrers(registry, subject.digest, "application/vnd.test.sbom")
    assert [item.digest for item in only] == [found["application/vnd.test.sbom"].digest]


def test_catalog_and_search(server: Server) -> None:
    registry = repository(server, "found/needle")
    pushed(registry, b"layer", tag="v1")
    repository(server, "found/other")
    assert "found/needle" in list(repositories(registry.transport, page=2))
    assert [item.name for item in search(registry.transport, "needle", 25)] == ["found/needle"]
    assert search(registry.transport, "no such thing", 25) == []
    with pytest.raises(Invalid):
        search(registry.transport, " ", 25)


def test_tags(server: Server) -> None:
    registry = repository(server, "many/tags")
    image = pushed(registry, b"layer")
    raw = registry.manifest(image.digest).raw
    names = [f"v{number}" for number in range(7)]
    for name in names:
        registry.put_manifest(raw, image.media_type, name)
    assert sorted(registry.tags(page=3)) == names
    registry.delete_manifest(image.digest)
    with pytest.raises(NotFound):
        registry.resolve("v0")


def test_a_blob_is_mounted_from_another_repository(server: Server) -> None:
    data = os.urandom(100_000)
    repository(server, "mount/from").take(described(data), Bytes(data))
    registry = repository(server, "mount/to")
    assert registry.take(described(data), Bytes(), ("mount/from",)) == "mount/from"
    assert registry.exists(described(data))
    other = os.urandom(1000)
    assert registry.take(described(other), Bytes(other), ("mount/from",)) == ""
    assert registry.exists(described(other))


def test_sha512(server: Server) -> None:
    """Where a registry does not know it, that is its answer, and no crash of ours."""
    registry = repository(server, "blobs/sha512")
    data = b"data"
    blob = Descriptor(LAYER, Digest("sha512:" + hashlib.sha512(data).hexdigest()), 4)
    try:
        registry.push(blob, iter([data]))
    except Exception as error:
        assert type(error).__module__ == "cais.errors"
    else:
        assert b"".join(registry.fetch(blob)) == data


def test_basic_authentication(private_registry: Server) -> None:
    data = b"secret data"
    for login in (None, Login(USER, "wrong"), Login("", "")):
        registry = repository(private_registry, "private/x", login)
        with pytest.raises(Unauthorized) as raised:
            registry.take(described(data), Bytes(data))
        assert "wrong" not in raised.value.message
    registry = repository(private_registry, "private/x", Login(USER, PASSWORD))
    registry.take(described(data), Bytes(data))
    assert b"".join(registry.fetch(described(data))) == data
    assert PASSWORD not in repr(Login(USER, PASSWORD)) + repr(registry) + repr(vars(registry.transport))


def test_nobody_listens(tmp_path: Path) -> None:
    registry = Registry(Transport(endpoint_of(f"127.0.0.1:{free_port()}")), "x")
    with pytest.raises(Unavailable, match="connection refused") as raised:
        registry.resolve("latest")
    assert raised.value.hint
