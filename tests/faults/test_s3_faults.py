"""An S3 store that errs, breaks off, loses answers and is slow: what it acknowledged is there, what is left is said."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import faulty_proxy
import swift_server
from cais.errors import Unavailable
from cais.spec.digest import Digest

pytest.importorskip("obstore")

from cais.blobs.s3 import S3Blobs
from cais.blobs.s3_settings import S3Settings

MIB = 1 << 20
UPLOAD = "6f1c8a52000040008000000000000001"


@pytest.fixture
def proxy(swift: Any) -> Iterator[faulty_proxy.FaultyProxy]:
    with faulty_proxy.between(swift.port) as proxy:
        yield proxy


@pytest.fixture(params=[10])
def blobs(request: pytest.FixtureRequest, swift: Any, proxy: faulty_proxy.FaultyProxy) -> Iterator[S3Blobs]:
    """The parameter: for how many seconds a request is repeated."""
    settings = S3Settings(
        swift.bucket(),
        endpoint=proxy.endpoint,
        access_key=swift_server.ACCESS_KEY,
        secret_key=swift_server.SECRET_KEY,
        retry_seconds=request.param,
        answer_seconds=0.6,
        part_bytes=MIB,
    )
    blobs = S3Blobs(settings)
    yield blobs
    proxy.stopped.set()
    blobs.close()


def first_of_each(fault: str) -> Callable[[str, str], str]:
    """The first request of each method for each path meets the fault."""
    seen = set()

    def choose(method: str, path: str) -> str:
        if (method, path) in seen:
            return ""
        seen.add((method, path))
        return fault

    return choose


def write(blobs: S3Blobs, parts: list[Any], offset: int, content: bytes) -> list[Any]:
    writer = blobs.append(UPLOAD, parts, offset)
    try:
        for start in range(0, len(content), MIB // 2):
            writer.write([content[start : start + MIB // 2]])
        return writer.commit()
    finally:
        writer.close()


def finish(blobs: S3Blobs, parts: list[Any], content: bytes) -> Any:
    writer = blobs.append(UPLOAD, parts, len(content))
    location = writer.finish(Digest.of(content))
    writer.close()
    return location


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "lost", "half", "slow", "hang"])
def test_one_fault_of_each_request_is_not_noticed(blobs: S3Blobs, proxy: faulty_proxy.FaultyProxy, fault: str) -> None:
    content = os.urandom(2 * MIB + 99)
    proxy.fault = first_of_each(fault)
    location = finish(blobs, write(blobs, [], 0, content), content)
    assert b"".join(blobs.read(location, 0, len(content))) == content
    assert [size for _, size, _ in blobs.stored()] == [len(content)]
    blobs.remove(location)
    proxy.fault = lambda method, path: ""
    assert list(blobs.stored()) == []
    assert proxy.counted[fault] >= 8  # three parts written and read, a list, a removal


@pytest.mark.parametrize("blobs", [0.5], indirect=True)
def test_a_store_that_keeps_failing_is_unavailable_within_the_time(
    blobs: S3Blobs, proxy: faulty_proxy.FaultyProxy
) -> None:
    content = os.urandom(MIB)
    parts = write(blobs, [], 0, content)
    proxy.fault = lambda method, path: "503"
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="503"):
        write(blobs, parts, MIB, b"more")
    with pytest.raises(Unavailable, match="503"):
        list(blobs.reread(UPLOAD, parts, MIB))
    with pytest.raises(Unavailable):
        blobs.answers()
    assert time.monotonic() - begun < 10
    proxy.fault = lambda method, path: ""
    blobs.answers()
    parts = write(blobs, parts, MIB, b"more")
    location = finish(blobs, parts, content + b"more")
    assert b"".join(blobs.read(location, 0, MIB + 4)) == content + b"more"


@pytest.mark.parametrize("blobs", [0.5], indirect=True)
def test_a_part_that_failed_is_never_acknowledged(blobs: S3Blobs, proxy: faulty_proxy.FaultyProxy) -> None:
    writer = blobs.append(UPLOAD, [], 0)
    proxy.fault = lambda method, path: "500"
    with pytest.raises(Unavailable):
        for _ in range(5):
            writer.write([b"x" * MIB])
    proxy.fault = lambda method, path: ""
    with pytest.raises(Unavailable):
        writer.commit()
    with pytest.raises(Unavailable):
        writer.commit()
    writer.close()


def test_a_refusal_is_not_repeated(blobs: S3Blobs, proxy: faulty_proxy.FaultyProxy) -> None:
    proxy.fault = lambda method, path: "403"
    with pytest.raises(Unavailable, match="403") as caught:
        write(blobs, [], 0, b"x")
    assert "refuses the keys" in caught.value.hint
    assert proxy.counted["403"] == 1
