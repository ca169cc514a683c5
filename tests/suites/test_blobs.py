"""``blobs.port.Blobs``: what every store of the servers' blobs promises."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import private_server
from cais.errors import Conflict, Corrupt, NotFound, Unavailable
from cais.spec.digest import Digest

pytest.importorskip("obstore")

from cais.blobs.files import FileBlobs
from cais.blobs.s3 import S3Blobs
from cais.blobs.s3_settings import S3Settings

MIB = 1 << 20
UPLOAD = "6f1c8a52000040008000000000000001"
OTHER = "0b7d11e9000040008000000000000002"


def file_blobs(request: pytest.FixtureRequest, directory: Path) -> Callable[[], Any]:
    return lambda: FileBlobs(str(directory))


def s3_blobs(request: pytest.FixtureRequest, directory: Path) -> Callable[[], Any]:
    import swift_server

    swift = request.getfixturevalue("swift")
    settings = S3Settings(
        swift.bucket(),
        endpoint=swift.endpoint,
        access_key=swift_server.ACCESS_KEY,
        secret_key=swift_server.SECRET_KEY,
        prefix="registry/one",
        part_bytes=MIB,
    )
    return lambda: S3Blobs(settings)


@pytest.fixture(params=[file_blobs, s3_blobs])
def open_blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Opens the same store; each time as another process would."""
    make = request.param(request, tmp_path / "blobs")
    opened: list[Any] = []

    def another() -> Any:
        opened.append(make())
        return opened[-1]

    yield another
    for blobs in opened:
        blobs.close()


@pytest.fixture
def blobs(open_blobs: Callable[[], Any]) -> Any:
    return open_blobs()


def write(blobs: Any, upload: str, parts: list[Any], offset: int, *pieces: bytes) -> list[Any]:
    writer = blobs.append(upload, parts, offset)
    try:
        for piece in pieces:
            writer.write([piece])
        made: list[Any] = writer.commit()
        return made
    finally:
        writer.close()


def finish(blobs: Any, upload: str, parts: list[Any], content: bytes) -> Any:
    writer = blobs.append(upload, parts, len(content))
    try:
        return writer.finish(Digest.of(content))
    finally:
        writer.close()


def stored(blobs: Any, upload: str, *pieces: bytes) -> tuple[Any, Digest, bytes]:
    content = b"".join(pieces)
    digest = Digest.of(content)
    parts = write(blobs, upload, [], 0, *pieces)
    return finish(blobs, upload, parts, content), digest, content


def read(blobs: Any, location: Any, start: int, stop: int) -> bytes:
    return b"".join(blobs.read(location, start, stop))


def test_a_writer_is_the_first_one_only_where_nothing_stands_behind(blobs: Any) -> None:
    parts = write(blobs, UPLOAD, [], 0, b"first")
    with contextlib.closing(blobs.append(UPLOAD, [], 0)) as late:
        assert not late.is_first, "it knows of nothing that was written meanwhile"
    with contextlib.closing(blobs.append(UPLOAD, parts, 5)) as next_one:
        assert next_one.is_first is blobs.is_near


def test_what_was_written_is_read_again_by_another_process(open_blobs: Callable[[], Any]) -> None:
    location, _, content = stored(open_blobs(), UPLOAD, b"one ", b"two ", b"three")
    assert read(open_blobs(), location, 0, len(content)) == content == b"one two three"


def test_nothing_is_a_blob_too(blobs: Any) -> None:
    location, _, _ = stored(blobs, UPLOAD)
    assert read(blobs, location, 0, 0) == b""
    blobs.remove(location)


def test_each_range_of_a_blob_of_several_parts(open_blobs: Callable[[], Any]) -> None:
    blobs = open_blobs()
    content = os.urandom(3 * MIB + 17)
    parts = write(blobs, UPLOAD, [], 0, content[:MIB], content[MIB : MIB + 5])
    parts = write(open_blobs(), UPLOAD, parts, MIB + 5, content[MIB + 5 : 3 * MIB], content[3 * MIB :])
    location = finish(blobs, UPLOAD, parts, content)
    edges = (0, 1, MIB - 1, MIB, MIB + 4, MIB + 5, MIB + 6, 2 * MIB, 3 * MIB + 16, 3 * MIB + 17)
    for start in edges:
        for stop in edges:
            assert read(blobs, location, start, stop) == content[start:stop], (start, stop)


def test_an_upload_goes_on_elsewhere_and_is_read_from_its_beginning(open_blobs: Callable[[], Any]) -> None:
    parts = write(open_blobs(), UPLOAD, [], 0, b"abc")
    elsewhere = open_blobs()
    parts = write(elsewhere, UPLOAD, parts, 3, b"def")
    assert b"".join(elsewhere.reread(UPLOAD, parts, 6)) == b"abcdef"
    location = finish(open_blobs(), UPLOAD, parts, b"abcdef")
    assert read(elsewhere, location, 0, 6) == b"abcdef"


def test_a_writer_commits_and_goes_on(blobs: Any) -> None:
    writer = blobs.append(UPLOAD, [], 0)
    writer.write([b"a", b"", b"bc"])
    first = writer.commit()
    writer.write([b"d"])
    second = writer.commit()
    writer.close()
    writer.close()
    assert b"".join(blobs.reread(UPLOAD, first, 3)) == b"abc"
    assert read(blobs, finish(blobs, UPLOAD, second, b"abcd"), 0, 4) == b"abcd"


def test_what_a_dead_writer_left_behind_the_acknowledged_bytes_is_overwritten(open_blobs: Callable[[], Any]) -> None:
    blobs = open_blobs()
    parts = write(blobs, UPLOAD, [], 0, b"kept")
    write(open_blobs(), UPLOAD, parts, 4, b"never acknowledged, and longer")
    assert b"".join(blobs.reread(UPLOAD, parts, 4)) == b"kept"
    parts = write(blobs, UPLOAD, parts, 4, b" on")
    location = finish(blobs, UPLOAD, parts, b"kept on")
    assert read(blobs, location, 0, 7) == b"kept on"
    with pytest.raises(Corrupt):
        read(blobs, location, 0, 8)
    if (descriptor := blobs.open_file(location)) is not None:
        assert os.pread(descriptor, 100, 0) == b"kept on"
        os.close(descriptor)


def test_two_writers_of_one_upload_do_not_mix(open_blobs: Callable[[], Any]) -> None:
    """One is refused, or each has parts of its own: the database takes one's."""
    writer = open_blobs().append(UPLOAD, [], 0)
    writer.write([b"first"])
    try:
        second = open_blobs().append(UPLOAD, [], 0)
    except Conflict:
        second = None
    else:
        second.write([b"other!"])
        second.commit()
    parts = writer.commit()
    writer.close()
    if second:
        second.close()
    assert b"".join(open_blobs().reread(UPLOAD, parts, 5)) == b"first"


def test_what_is_lost_of_an_upload_is_noticed(blobs: Any) -> None:
    parts = write(blobs, UPLOAD, [], 0, b"abc")
    with pytest.raises(Corrupt):
        blobs.append(UPLOAD, parts, 4)


def test_two_blobs_of_one_digest_have_two_locations(blobs: Any) -> None:
    one, _, _ = stored(blobs, UPLOAD, b"same")
    other, _, _ = stored(blobs, OTHER, b"same")
    assert one != other
    blobs.remove(one)
    assert read(blobs, other, 0, 4) == b"same"
    with pytest.raises(NotFound):
        read(blobs, one, 0, 4)
    blobs.remove(one)


def test_a_discarded_upload_leaves_nothing(blobs: Any) -> None:
    parts = write(blobs, UPLOAD, [], 0, b"abc")
    write(blobs, UPLOAD, [], 0, b"abc, by another writer")
    kept, _, _ = stored(blobs, OTHER, b"kept")
    blobs.discard(UPLOAD, parts)
    assert [location for location, _, _ in blobs.stored()] == [kept]
    assert list(blobs.unfinished()) == []
    blobs.discard(UPLOAD, parts)


def test_what_was_not_committed_is_forgotten(blobs: Any) -> None:
    writer = blobs.append(UPLOAD, [], 0)
    writer.write([b"x" * 2 * MIB])
    writer.close()
    assert b"".join(blobs.reread(UPLOAD, [], 0)) == b""
    blobs.discard(UPLOAD, [])
    private_server.until(lambda: not list(blobs.stored()), "it is gone")


def test_everything_stored_is_listed(blobs: Any) -> None:
    import time

    made = {}
    for number in range(3):
        upload = str(number) + UPLOAD[1:]
        location, _, content = stored(blobs, upload, b"x" * (number * MIB + 1), b"y" * number)
        made[str(location)] = len(content)
    write(blobs, OTHER, [], 0, b"unfinished")
    listed = list(blobs.stored())
    assert {str(location): size for location, size, _ in listed if str(location) in made} == made
    assert all(abs(modified - time.time()) < 100 for _, _, modified in listed)
    for location, _, _ in listed:
        blobs.remove(location)
    for upload, parts, _ in blobs.unfinished():
        blobs.discard(upload, parts)
    assert list(blobs.stored()) == list(blobs.unfinished()) == []


def test_content_passes_unchanged_in_pieces_of_any_size(blobs: Any) -> None:
    sizes = (1, 0, 4095, MIB, 3, MIB + 1, 100_000)
    pieces = [os.urandom(size) for size in sizes]
    location, digest, content = stored(blobs, UPLOAD, *pieces)
    state = hashlib.sha256()
    for piece in blobs.read(location, 0, len(content)):
        assert 0 < len(piece) <= 4 * MIB
        state.update(piece)
    assert state.hexdigest() == digest.hex


def test_objects_of_others_in_the_bucket_are_not_ours(swift: Any) -> None:
    import swift_server

    keys = {"access_key": swift_server.ACCESS_KEY, "secret_key": swift_server.SECRET_KEY}
    blobs = S3Blobs(S3Settings(swift.bucket(), endpoint=swift.endpoint, **keys))
    location, _, _ = stored(blobs, UPLOAD, b"ours")
    for name in ("photo.jpg", "holidays/photo.jpg", f"{UPLOAD}/photo.jpg", f"backup/{UPLOAD}/000000000000-12345678"):
        blobs._objects.put(name, b"theirs")
    assert [found for found, _, _ in blobs.stored()] == [location]
    blobs.close()


def test_it_says_whether_it_can_store(blobs: Any) -> None:
    blobs.answers()


def test_an_s3_store_that_is_not_there_is_said(swift: Any) -> None:
    import swift_server

    for changed, words in (
        ({"bucket": "no-such-bucket"}, "has to be made"),
        ({"secret_key": "wrong"}, "refuses the keys"),
        ({"endpoint": "http://127.0.0.1:9"}, ""),
    ):
        settings = S3Settings(
            **{
                "bucket": "bucket",
                "endpoint": swift.endpoint,
                "access_key": swift_server.ACCESS_KEY,
                "secret_key": swift_server.SECRET_KEY,
                "retry_seconds": 0,
                **changed,
            }
        )
        blobs = S3Blobs(settings)
        with pytest.raises(Unavailable) as caught:
            blobs.answers()
        assert words in caught.value.hint
        assert "wrong" not in str(caught.value) + caught.value.hint
        blobs.close()


def test_a_location_has_a_size_and_a_name_of_its_own(blobs: Any) -> None:
    one, _, _ = stored(blobs, UPLOAD, b"x" * MIB, b"y" * MIB, b"z")
    other, _, _ = stored(blobs, OTHER, b"")
    assert (blobs.size(one), blobs.size(other)) == (2 * MIB + 1, 0)
    assert len({blobs.name(one), blobs.name(other)}) == 2
    listed = {blobs.name(location) for location, size, _ in blobs.stored() if size}
    assert listed == {blobs.name(one)}, "a location is named the same when it is listed"
    blobs.remove(one)
    with pytest.raises(NotFound):
        blobs.size(one)


def test_a_file_is_adopted_or_has_to_be_copied(blobs: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    location = blobs.adopt(str(file), Digest.of(b"content"))
    if location is None:
        assert list(blobs.stored()) == []
        return
    assert read(blobs, location, 0, 7) == b"content"
    assert file.stat().st_nlink == 2
    blobs.remove(location)
    assert file.read_bytes() == b"content"
