"""What came before a connection broke is kept and gone on with."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.content.collector import KEPT_SECONDS, remove_blob_files
from cais.content.kept import Receiver
from cais.content.store import ContentStore
from cais.engine import Settings
from cais.engine.stores import Stores
from cais.errors import Cancelled, Corrupt, Unavailable
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(Settings(str(tmp_path / "root")))
    yield stores
    stores.close()


class Breaking:
    """A Source whose connection breaks after some bytes."""

    def __init__(self, data: bytes, *breaks: int) -> None:
        self.data = data
        self.breaks = list(breaks)
        self.offsets: list[int] = []

    def exists(self, blob: Descriptor) -> bool:
        return True

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.offsets.append(offset)
        end = self.breaks.pop(0) if self.breaks else len(self.data)
        for start in range(offset, end, 1000):
            yield self.data[start : min(start + 1000, end)]
        if end < len(self.data):
            raise Unavailable("the connection broke")


def blob_of(data: bytes) -> Descriptor:
    return Descriptor("", Digest.of(data), len(data))


def kept(stores: Stores) -> list[str]:
    directory = os.path.dirname(stores.content.kept_path(Digest.of(b"")))
    return os.listdir(directory) if os.path.isdir(directory) else []


def test_it_goes_on_from_the_byte(stores: Stores, tmp_path: Path) -> None:
    data = os.urandom(10_000)
    source = Breaking(data, 2500, 7001)
    for _ in range(2):
        with pytest.raises(Unavailable):
            Receiver(stores.content).take(blob_of(data), source)
        assert not stores.content.exists(blob_of(data))
    other = Stores(Settings(str(tmp_path / "root")))  # as another process
    Receiver(other.content).take(blob_of(data), source)
    other.close()
    assert source.offsets == [0, 2500, 7001]
    assert stores.content.read(Digest.of(data)) == data
    assert kept(stores) == []


def test_what_was_kept_and_is_wrong_is_fetched_again(stores: Stores) -> None:
    data = os.urandom(10_000)
    source = Breaking(data, 5000)
    with pytest.raises(Unavailable):
        Receiver(stores.content).take(blob_of(data), source)
    with open(stores.content.kept_path(Digest.of(data)), "r+b") as file:
        file.write(b"damaged")
    Receiver(stores.content).take(blob_of(data), source)
    assert source.offsets == [0, 5000, 0]
    assert stores.content.read(Digest.of(data)) == data


@pytest.mark.parametrize("size", [10_000, 20_000])
def test_of_wrong_bytes_nothing_is_kept(stores: Stores, size: int) -> None:
    blob = Descriptor("", Digest.of(b"other"), 10_000)
    with pytest.raises(Corrupt):
        Receiver(stores.content).take(blob, Breaking(os.urandom(size)))
    assert kept(stores) == []
    assert not stores.content.exists(blob)


def test_two_that_want_the_same_fetch_it_once(stores: Stores) -> None:
    data = os.urandom(5_000)
    begun, go_on = threading.Event(), threading.Event()

    class Waiting(Breaking):
        def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
            begun.set()
            assert go_on.wait(20)
            return super().fetch(blob, offset)

    first, second = Waiting(data), Breaking(data)
    threads = [threading.Thread(target=lambda: Receiver(stores.content).take(blob_of(data), first))]
    threads[0].start()
    assert begun.wait(20)
    threads.append(threading.Thread(target=lambda: Receiver(stores.content).take(blob_of(data), second)))
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert (len(first.offsets), second.offsets) == (1, [])
    assert stores.content.read(Digest.of(data)) == data
    assert kept(stores) == []


def test_what_is_just_put_in_its_place_is_not_fetched_again(stores: Stores, tmp_path: Path) -> None:
    """Its file is renamed within the transaction that makes it visible: for a moment neither is there."""
    data = os.urandom(10_000)
    blob, source = blob_of(data), Breaking(data)
    Receiver(stores.content).take(blob_of(b"any"), Breaking(b"any"))
    other = Stores(Settings(str(tmp_path / "root")))  # as another process
    taker = threading.Thread(target=lambda: (Receiver(other.content).take(blob, source), other.close()), daemon=True)
    with stores.database.transaction() as change:
        Path(stores.content.path(blob.digest)).write_bytes(data)
        taker.start()
        end = time.monotonic() + 20
        while not is_locked(stores.content.kept_path(blob.digest)):
            assert time.monotonic() < end
        change.execute("INSERT INTO blobs (digest, size_bytes) VALUES (?, ?)", (blob.digest, blob.size_bytes))
    taker.join(20)
    assert not taker.is_alive() and source.offsets == []
    assert kept(stores) == []


def test_what_arrives_is_read_from_its_own_file(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is put in its place, a process that waited for it has opened a new file at the old path."""
    data = os.urandom(10_000)
    blob = blob_of(data)
    receiver = Receiver(stores.content)
    moved, go_on = threading.Event(), threading.Event()

    def link(*_: object) -> None:
        moved.set()
        assert go_on.wait(20)

    monkeypatch.setattr(ContentStore, "_link", staticmethod(link))
    taker = threading.Thread(target=lambda: receiver.take(blob, Breaking(data)), daemon=True)
    taker.start()
    assert moved.wait(20)
    Path(stores.content.kept_path(blob.digest)).touch()
    pieces = receiver.fetch(blob)
    read = next(pieces)
    go_on.set()
    for piece in pieces:
        assert piece
        read += piece
    taker.join(20)
    assert read == data


def is_locked(path: str) -> bool:
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def test_a_full_disk_is_not_kept_full(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from cais.content import store

    def full(descriptor: int, piece: bytes) -> None:
        os.write(descriptor, piece)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(store, "write_all", full)
    data = os.urandom(5_000)
    with pytest.raises(Unavailable):
        Receiver(stores.content).take(blob_of(data), Breaking(data))
    assert kept(stores) == []


def test_the_collector_takes_what_nobody_goes_on_with(stores: Stores) -> None:
    old, new, locked = os.urandom(100), os.urandom(100), os.urandom(100)
    for data in (old, new, locked):
        with pytest.raises(Unavailable):
            Receiver(stores.content).take(blob_of(data), Breaking(data, 50))
    long_ago = time.time() - KEPT_SECONDS - 1
    for data in (old, locked):
        os.utime(stores.content.kept_path(Digest.of(data)), (long_ago, long_ago))
    with open(stores.content.kept_path(Digest.of(locked)), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with stores.database.transaction() as change:
            remove_blob_files(change, stores.content, stores.leases)
    assert sorted(kept(stores)) == sorted(
        os.path.basename(stores.content.kept_path(Digest.of(data))) for data in (new, locked)
    )


def test_what_is_there_is_not_asked_for(stores: Stores) -> None:
    data = os.urandom(100)
    stores.content.add(data)
    receiver = Receiver(stores.content)
    assert receiver.exists(blob_of(data))
    with pytest.raises(Corrupt):
        receiver.exists(blob_of(data)._replace(size_bytes=99))
    source = Breaking(data)
    receiver.take(blob_of(data), source)
    assert source.offsets == []


class Stepping(Breaking):
    """Gives one piece each time it is let, and fails at the end where it is told to."""

    def __init__(self, data: bytes, failure: BaseException | None = None) -> None:
        super().__init__(data)
        self.steps = threading.Semaphore(0)
        self.failure = failure

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        for piece in super().fetch(blob, offset):
            assert self.steps.acquire(timeout=20)
            yield piece
        if self.failure is not None:
            raise self.failure


class Arrival:
    """A blob that arrives in a thread, and a reader that follows it."""

    def __init__(self, stores: Stores, blob: Descriptor, source: Stepping) -> None:
        self.error: BaseException | None = None
        self.begun = threading.Event()
        self.receiver = Receiver(stores.content, lambda _: self.begun.set())
        self.thread = threading.Thread(target=self._take, args=(blob, source))
        self.thread.start()
        assert self.begun.wait(20)

    def _take(self, blob: Descriptor, source: Stepping) -> None:
        try:
            self.receiver.take(blob, source)
        except BaseException as error:
            self.error = error


def test_what_arrives_can_be_read_meanwhile(stores: Stores) -> None:
    data = os.urandom(5_000)
    source = Stepping(data)
    arrival = Arrival(stores, blob_of(data), source)
    pieces = arrival.receiver.fetch(blob_of(data))
    source.steps.release(2)
    found = next(pieces)
    while len(found) < 2_000:
        found += next(pieces)
    assert found == data[:2_000]
    assert arrival.thread.is_alive()
    late = arrival.receiver.fetch(blob_of(data), 4_500)
    source.steps.release(3)
    assert found + b"".join(pieces) == data
    assert b"".join(late) == data[4_500:]
    arrival.thread.join(20)
    assert b"".join(arrival.receiver.fetch(blob_of(data))) == data


@pytest.mark.parametrize("size", [5_000, 1])
def test_of_what_is_wrong_a_reader_never_gets_all(stores: Stores, size: int) -> None:
    data = os.urandom(size)
    said = Descriptor("", Digest.of(b"other"), size)
    source = Stepping(data)
    arrival = Arrival(stores, said, source)
    pieces = arrival.receiver.fetch(said)
    source.steps.release(5)
    found = b""
    with pytest.raises(Cancelled):
        for piece in pieces:
            found += piece
    assert len(found) < size
    arrival.thread.join(20)
    assert isinstance(arrival.error, Corrupt)


def test_a_reader_ends_with_what_it_follows(stores: Stores) -> None:
    data = os.urandom(5_000)
    source = Stepping(data, failure=Unavailable("the connection broke"))
    arrival = Arrival(stores, blob_of(data), source)
    pieces = arrival.receiver.fetch(blob_of(data))
    source.steps.release(5)
    with pytest.raises(Cancelled):
        list(pieces)
    arrival.thread.join(20)
    assert isinstance(arrival.error, Unavailable)


def test_an_empty_blob_arrives(stores: Stores) -> None:
    receiver = Receiver(stores.content)
    receiver.take(blob_of(b""), Breaking(b""))
    assert list(receiver.fetch(blob_of(b""))) == []
    assert kept(stores) == []
