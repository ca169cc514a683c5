"""``ports.Source`` and ``ports.Sink``: what every implementation promises."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

from cais.content.kept import Receiver
from cais.engine import Settings
from cais.engine.registries import Registries
from cais.engine.stores import Stores
from cais.errors import Corrupt, NotFound
from cais.image.layers import LayerSource
from cais.ports import Sink, Source
from cais.remote.registry import Registry
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.reference import Reference
from registry_servers import Server

MISSING = Descriptor("application/octet-stream", Digest.of(b"never stored"), 12)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(Settings(str(tmp_path / "root"), driver="copies"))
    yield stores
    stores.close()


class Held(NamedTuple):
    """A source, and a blob that it has."""

    source: Source
    blob: Descriptor
    data: bytes


def described(data: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(data), len(data))


def of_content(stores: Stores) -> Held:
    data = os.urandom((2 << 20) + 17)
    stores.content.add(data)
    return Held(stores.content, described(data), data)


def of_layers_with_a_blob(stores: Stores) -> Held:
    held = of_content(stores)
    return held._replace(source=LayerSource(stores.content, stores.snapshots))


def of_layers_packed_on_demand(stores: Stores) -> Held:
    """A layer that was built here: it is a directory, and its tar was never stored."""
    prepared = stores.snapshots.prepare(None)
    for number in range(40):
        Path(prepared.directory, "fs", f"file{number}").write_bytes(os.urandom(70_000))
    layer = stores.snapshots.commit(prepared)
    blob = Descriptor("application/vnd.oci.image.layer.v1.tar", layer.diff_id, layer.size_bytes)
    data = b"".join(stores.snapshots.pack(layer.chain_id))
    assert stores.content.size_of(layer.diff_id) is None
    return Held(LayerSource(stores.content, stores.snapshots), blob, data)


@pytest.fixture
def repository(open_registry: Server) -> Iterator[Registry]:
    """A fresh one at a real registry."""
    registries = Registries({})
    name = f"{open_registry.address}/suite/{os.urandom(6).hex()}"
    yield registries.repository(Reference.parse(name), pushing=True)
    registries.close()


def of_a_registry(repository: Registry) -> Held:
    data = os.urandom((2 << 20) + 17)
    repository.push(described(data), iter([data]))
    return Held(repository, described(data), data)


@pytest.fixture(params=[of_content, of_layers_with_a_blob, of_layers_packed_on_demand, of_a_registry])
def held(request: pytest.FixtureRequest, stores: Stores) -> Held:
    if request.param is of_layers_packed_on_demand and os.geteuid() != 0:
        pytest.skip("needs root")
    if request.param is of_a_registry:
        return of_a_registry(request.getfixturevalue("repository"))
    make: Callable[[Stores], Held] = request.param
    return make(stores)


class TestSource:
    def test_what_it_has_exists(self, held: Held) -> None:
        assert held.source.exists(held.blob)
        assert not held.source.exists(MISSING)

    def test_all_of_it_has_its_digest_and_size(self, held: Held) -> None:
        data = b"".join(held.source.fetch(held.blob))
        assert data == held.data
        assert (Digest.of(data), len(data)) == (held.blob.digest, held.blob.size_bytes)

    def test_from_any_offset(self, held: Held) -> None:
        size = held.blob.size_bytes
        for offset in (0, 1, 511, 512, size // 2, 1 << 20, size - 1, size):
            assert b"".join(held.source.fetch(held.blob, offset)) == held.data[offset:]

    def test_pieces_are_not_empty(self, held: Held) -> None:
        assert all(held.source.fetch(held.blob, 700))

    def test_two_readers_do_not_disturb_each_other(self, held: Held) -> None:
        one, other = held.source.fetch(held.blob), held.source.fetch(held.blob, 100)
        pairs = list(zip_longest(one, other, fillvalue=b""))
        assert b"".join(pair[0] for pair in pairs) == held.data
        assert b"".join(pair[1] for pair in pairs) == held.data[100:]

    def test_a_reader_may_stop(self, held: Held) -> None:
        pieces = held.source.fetch(held.blob)
        next(pieces)
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
        assert b"".join(held.source.fetch(held.blob)) == held.data

    def test_what_it_does_not_have_is_not_found(self, held: Held) -> None:
        with pytest.raises(NotFound):
            list(held.source.fetch(MISSING))

    def test_what_is_fetched_can_be_pushed(self, held: Held, tmp_path: Path) -> None:
        """The one verb: from a source to a sink."""
        other = Stores(Settings(str(tmp_path / "other")))
        try:
            other.content.push(held.blob, held.source.fetch(held.blob))
            assert b"".join(other.content.fetch(held.blob)) == held.data
        finally:
            other.close()


class Received(Receiver):
    """With a way to read what was stored."""

    def fetch(self, blob: Descriptor) -> Iterator[bytes]:
        return self._content.fetch(blob)


@pytest.fixture(params=["ContentStore", "Receiver", "Registry"])
def sink(request: pytest.FixtureRequest, stores: Stores) -> Sink:
    if request.param == "Registry":
        repository: Registry = request.getfixturevalue("repository")
        return repository
    return stores.content if request.param == "ContentStore" else Received(stores.content)


def stored(sink: Sink, blob: Descriptor) -> bytes:
    return b"".join(sink.fetch(blob))  # type: ignore[attr-defined]


class TestSink:
    @pytest.mark.parametrize("sizes", [(), (0,), (1,), (7, 0, 3), (1 << 20,), (1, 1 << 21, 5)])
    def test_what_was_pushed_is_stored(self, sink: Sink, sizes: tuple[int, ...]) -> None:
        pieces = [os.urandom(size) for size in sizes]
        data = b"".join(pieces)
        assert not sink.exists(described(data))
        sink.push(described(data), iter(pieces))
        assert sink.exists(described(data))
        assert stored(sink, described(data)) == data

    def test_again_is_no_error(self, sink: Sink) -> None:
        for _ in range(2):
            sink.push(described(b"data"), iter([b"data"]))
        assert stored(sink, described(b"data")) == b"data"

    @pytest.mark.parametrize(
        "said",
        [
            Descriptor("", Digest.of(b"other"), 4),
            Descriptor("", Digest.of(b"data"), 3),
            Descriptor("", Digest.of(b"data"), 5),
        ],
        ids=["digest", "too long", "too short"],
    )
    def test_a_lie_is_corrupt_and_leaves_nothing(self, sink: Sink, said: Descriptor) -> None:
        with pytest.raises(Corrupt):
            sink.push(said, iter([b"da", b"ta"]))
        assert not sink.exists(said) and not sink.exists(described(b"data"))
        sink.push(described(b"data"), iter([b"data"]))
        assert stored(sink, described(b"data")) == b"data"

    def test_a_source_that_breaks_leaves_nothing(self, sink: Sink) -> None:
        def broken() -> Iterator[bytes]:
            yield b"da"
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            sink.push(described(b"data"), broken())
        assert not sink.exists(described(b"data"))

    def test_endless_pieces_are_not_read_to_the_end(self, sink: Sink) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(1 << 16)

        with pytest.raises(Corrupt):
            sink.push(described(b"data"), endless())

    def test_other_algorithms(self, sink: Sink) -> None:
        import hashlib

        blob = Descriptor("", Digest.parse("sha512:" + hashlib.sha512(b"data").hexdigest()), 4)
        sink.push(blob, iter([b"data"]))
        assert stored(sink, blob) == b"data"

    def test_many_at_once(self, sink: Sink) -> None:
        shared = os.urandom(1 << 20)
        own = [os.urandom(1 << 18) for _ in range(4)]
        errors: list[BaseException] = []

        def work(data: bytes) -> None:
            try:
                sink.push(described(shared), iter([shared[:5], shared[5:]]))
                sink.push(described(data), iter([data]))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(data,)) for data in own]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        for data in (shared, *own):
            assert stored(sink, described(data)) == data
