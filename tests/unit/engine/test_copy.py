"""Copy: a graph from a source to a sink, between real stores and a real registry."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cais.content.kept import Receiver
from cais.engine.copy import copy, read_graph
from cais.engine.registries import Registries
from cais.engine.settings import Settings
from cais.engine.stores import Stores
from cais.errors import Corrupt, Invalid, NotFound
from cais.remote.registry import Registry
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform
from cais.spec.reference import Reference
from registry_servers import Server


def described(data: bytes, media_type: str = types.OCI_LAYER) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


class Memory:
    """A Source and a Sink that notes in which order things came."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {Digest.of(data): data for data in blobs}
        self.order: list[Digest] = []
        self.fetched: list[Digest] = []

    def add(self, data: bytes, media_type: str = types.OCI_LAYER) -> Descriptor:
        self.blobs[Digest.of(data)] = data
        return described(data, media_type)

    def exists(self, blob: Descriptor) -> bool:
        return blob.digest in self.blobs

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.fetched.append(blob.digest)
        if blob.digest not in self.blobs:
            raise NotFound(f"no such blob: {blob.digest}")
        data = self.blobs[blob.digest][offset:]
        return iter([data[start : start + 1000] for start in range(0, len(data), 1000)])

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        data = b"".join(pieces)
        if not blob.digest.fits(data):
            raise Corrupt(f"not {blob.digest}")
        self.blobs[blob.digest] = data
        self.order.append(blob.digest)


def image(memory: Memory, *layers: bytes, platform: str = "linux/amd64") -> Descriptor:
    config = memory.add(platform.encode(), types.OCI_CONFIG)
    manifest = Manifest.encode(config, [memory.add(data) for data in layers])
    memory.add(manifest.raw)
    return manifest.descriptor._replace(platform=Platform.parse(platform))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(Settings(str(tmp_path / "root")))
    yield stores
    stores.close()


@pytest.fixture
def registries() -> Iterator[Registries]:
    registries = Registries({})
    yield registries
    registries.close()


def repository(registries: Registries, server: Server, name: str) -> Registry:
    return registries.repository(Reference.parse(f"{server.address}/{name}"), pushing=True)


def test_children_come_before_what_names_them() -> None:
    source, sink = Memory(), Memory()
    one, two = image(source, b"a" * 5000, b"b"), image(source, b"b", b"c", platform="linux/arm64")
    index = Index.encode([one, two])
    source.add(index.raw)
    graph = copy(source, sink, index.descriptor)
    assert sink.blobs == source.blobs
    assert sink.order[-1] == index.digest
    assert set(sink.order[-3:-1]) == {one.digest, two.digest}
    assert len(sink.order) == len(set(sink.order))
    assert list(graph.documents)[-1] == index.digest
    assert len(graph.blobs) == 5


def test_only_the_wanted_platforms() -> None:
    source, sink = Memory(), Memory()
    one, two = image(source, b"a"), image(source, b"b", platform="linux/arm64")
    index = Index.encode([one, two])
    source.add(index.raw)
    copy(source, sink, index.descriptor, wanted=lambda item: item.digest == two.digest)
    assert one.digest not in sink.blobs
    assert {two.digest, index.digest, Digest.of(b"b")} <= set(sink.blobs)


def test_what_is_there_does_not_go_again() -> None:
    source, sink = Memory(), Memory(b"first")
    target = image(source, b"first", b"second", b"third")
    events: list[dict[str, Any]] = []
    copy(source, sink, target, events.append, present=[Digest.of(b"second")], jobs=1)
    assert Digest.of(b"first") not in source.fetched
    assert Digest.of(b"second") not in sink.blobs
    states = [(event["digest"], event["state"]) for event in events if event["event"] == "blob"]
    config, first, second, third = (Digest.of(data) for data in (b"linux/amd64", b"first", b"second", b"third"))
    assert states[:4] == [(digest, "planned") for digest in (config, first, second, third)]
    assert states[4:] == [(config, "received"), (first, "exists"), (second, "exists"), (third, "received")]
    last = [event for event in events if event["event"] == "status"][-1]
    assert (last["what"], last["current"], last["total"]) == (third, 5, 5)


def test_blobs_go_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    class Slow(Memory):
        def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
            if blob.media_type == types.OCI_LAYER:
                together.wait()  # passes only when three are in here
            return super().fetch(blob, offset)

    source, sink = Slow(), Memory()
    target = image(source, b"1", b"2", b"3")
    stored: list[Descriptor] = []
    copy(source, sink, target, jobs=4, stored=stored.append)
    assert len(stored) == 4


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_first_failure_ends_it_and_nothing_refers_to_nothing(jobs: int) -> None:
    source, sink = Memory(), Memory()
    target = image(source, *(bytes([number]) * 2000 for number in range(9)))
    del source.blobs[Digest.of(bytes([4]) * 2000)]
    with pytest.raises(NotFound):
        copy(source, sink, target, jobs=jobs)
    assert target.digest not in sink.blobs


def test_an_interrupt_ends_the_threads() -> None:
    before = threading.active_count()
    raised, caller = threading.Event(), threading.current_thread()

    def interrupted(event: dict[str, Any]) -> None:
        if event["event"] == "status":
            if threading.current_thread() is caller:
                raised.set()
                raise KeyboardInterrupt
            assert raised.wait(20)

    source, sink = Memory(), Memory()
    with pytest.raises(KeyboardInterrupt):
        copy(source, sink, image(source, *(os.urandom(200_000) for _ in range(6))), interrupted)
    assert threading.active_count() == before


def test_a_manifest_that_is_not_its_digest() -> None:
    source = Memory()
    target = image(source, b"layer")
    source.blobs[target.digest] = source.blobs[target.digest].replace(b"amd", b"arm") + b" "
    with pytest.raises(Corrupt):
        read_graph(source, target)
    with pytest.raises(Corrupt):
        read_graph(source, target._replace(size_bytes=target.size_bytes - 1))


def test_an_index_nested_too_deep() -> None:
    source = Memory()
    item = image(source, b"layer")
    for _ in range(10):
        index = Index.encode([item])
        source.add(index.raw)
        item = index.descriptor
    with pytest.raises(Invalid, match="nested"):
        read_graph(source, item)


def test_what_lives_elsewhere_stays_there() -> None:
    source, sink = Memory(), Memory()
    config = source.add(b"config", types.OCI_CONFIG)
    foreign = described(b"elsewhere", types.OCI_LAYER_NONDISTRIBUTABLE)._replace(extra={"urls": ["https://x.test/y"]})
    manifest = Manifest.encode(config, [foreign])
    source.add(manifest.raw)
    copy(source, sink, manifest.descriptor)
    assert foreign.digest not in sink.blobs


def test_from_the_store_to_a_registry_and_back(
    stores: Stores, open_registry: Server, registries: Registries, tmp_path: Path
) -> None:
    memory = Memory()
    target = image(memory, os.urandom(2_000_000), os.urandom(300_000), b"small")
    copy(memory, stores.content, target)
    registry = repository(registries, open_registry, "copy/app")
    copy(
        stores.content,
        registry,
        target,
        put_target=lambda item, raw: registry.put_manifest(raw, item.media_type, "v1", digest=item.digest),
    )
    assert registry.resolve("v1").digest == target.digest
    other = Stores(Settings(str(tmp_path / "other")))
    try:
        copy(registry, Receiver(other.content), registry.resolve("v1"))
        for digest, data in memory.blobs.items():
            assert other.content.read(digest) == data
    finally:
        other.close()


def test_from_a_registry_to_a_registry(open_registry: Server, private_registry: Server, registries: Registries) -> None:
    from cais.remote.credentials import Login
    from registry_servers import PASSWORD, USER

    registries = Registries({}, {private_registry.address: Login(USER, PASSWORD)})
    memory = Memory()
    one, two = image(memory, os.urandom(500_000)), image(memory, os.urandom(500_000), platform="linux/arm64")
    index = Index.encode([one, two])
    memory.add(index.raw)
    source = repository(registries, open_registry, "copy/index")
    sink = repository(registries, private_registry, "copy/index")
    copy(memory, source, index.descriptor)
    copy(source, sink, index.descriptor)
    assert sink.exists(index.descriptor)
    found = Memory()
    copy(sink, found, index.descriptor)
    assert found.blobs == memory.blobs
    registries.close()
