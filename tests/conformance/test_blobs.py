"""Blobs, as the specification's conformance suite asks for them: every way to push one, ranges, mounts, deletes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from registry_process import Answer, RegistryProcess, digest_of

REPOSITORY, OTHER = "conformance/blobs", "conformance/others"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
OCTETS = {"Content-Type": "application/octet-stream"}
EMPTY = b""

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def post_only(registry: RegistryProcess, data: bytes, digest: str) -> Answer:
    return registry.request("POST", f"{UPLOADS}?digest={digest}", data, OCTETS)


def post_put(registry: RegistryProcess, data: bytes, digest: str) -> Answer:
    began = registry.request("POST", UPLOADS)
    assert began.status == 202
    return registry.request("PUT", f"{began.headers['location']}?digest={digest}", data, OCTETS)


def streamed(registry: RegistryProcess, data: bytes, digest: str) -> Answer:
    began = registry.request("POST", UPLOADS)
    pieces = iter([data[:1], data[1:]])  # no Content-Length: sent in chunks
    sent = registry.request("PATCH", began.headers["location"], pieces, OCTETS)
    assert sent.status == 202
    return registry.request("PUT", f"{sent.headers['location']}?digest={digest}", None, OCTETS)


def chunks(data: bytes) -> list[tuple[int, bytes]]:
    size = len(data) // 3 + 1
    return [(start, data[start : start + size]) for start in range(0, len(data), size)]


def ranged(start: int, piece: bytes) -> dict[str, str]:
    return {**OCTETS, "Content-Range": f"{start}-{start + len(piece) - 1}"}


def chunked(registry: RegistryProcess, data: bytes, digest: str) -> Answer:
    location = registry.request("POST", UPLOADS).headers["location"]
    for start, piece in chunks(data):
        sent = registry.request("PATCH", location, piece, ranged(start, piece))
        assert (sent.status, sent.headers["range"]) == (202, f"0-{start + len(piece) - 1}")
        location = sent.headers["location"]
    return registry.request("PUT", f"{location}?digest={digest}", None, OCTETS)


def chunked_last_put(registry: RegistryProcess, data: bytes, digest: str) -> Answer:
    location = registry.request("POST", UPLOADS).headers["location"]
    *pieces, (start, last) = chunks(data)
    for first, piece in pieces:
        location = registry.request("PATCH", location, piece, ranged(first, piece)).headers["location"]
    return registry.request("PUT", f"{location}?digest={digest}", last, ranged(start, last))


WAYS = pytest.mark.parametrize("push", [post_only, post_put, streamed, chunked, chunked_last_put])
Push = Callable[[RegistryProcess, bytes, str], Answer]


@ALGORITHMS
@WAYS
def test_a_blob_is_pushed_pulled_and_deleted(registry: RegistryProcess, push: Push, algorithm: str) -> None:
    data = os.urandom(3001)
    digest = digest_of(data, algorithm)
    assert registry.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}").code == "BLOB_UNKNOWN"
    done = push(registry, data, digest)
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest)
    got = registry.request("GET", done.headers["location"])
    assert (got.status, got.body, got.headers["docker-content-digest"]) == (200, data, digest)
    assert got.headers["content-length"] == "3001"
    head = registry.request("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "3001")
    assert registry.request("DELETE", f"/v2/{REPOSITORY}/blobs/{digest}").status == 202
    assert registry.request("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
    assert registry.request("DELETE", f"/v2/{REPOSITORY}/blobs/{digest}").code == "BLOB_UNKNOWN"


@ALGORITHMS
@WAYS
def test_content_that_is_not_its_digest(registry: RegistryProcess, push: Push, algorithm: str) -> None:
    data = os.urandom(3001)
    digest = digest_of(data, algorithm)
    refused = push(registry, data + b"oh no", digest)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert registry.request("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404


@ALGORITHMS
@pytest.mark.parametrize("data", [EMPTY, b"{}"])
@pytest.mark.parametrize("push", [post_only, post_put])
def test_well_known_blobs(registry: RegistryProcess, push: Push, data: bytes, algorithm: str) -> None:
    done = push(registry, data, digest_of(data, algorithm))
    assert done.status == 201
    got = registry.request("GET", done.headers["location"])
    assert (got.body, got.headers["content-length"]) == (data, str(len(data)))


def test_the_empty_blob_streamed(registry: RegistryProcess) -> None:
    location = registry.request("POST", UPLOADS).headers["location"]
    sent = registry.request("PATCH", location, EMPTY, OCTETS)
    assert sent.status == 202
    assert registry.request("PUT", f"{location}?digest={digest_of(EMPTY)}").status == 201


@pytest.mark.parametrize("last_is_put", [False, True])
def test_chunks_out_of_order(registry: RegistryProcess, last_is_put: bool) -> None:
    data = os.urandom(3000)
    digest = digest_of(data)
    location = registry.request("POST", UPLOADS).headers["location"]
    for start, piece in chunks(data):
        for wrong in (start + len(piece), start - 1 if start else 5):
            bad = data[wrong : wrong + 100] or b"x"
            method, query = ("PUT", f"?digest={digest}") if last_is_put else ("PATCH", "")
            refused = registry.request(method, location + query, bad, ranged(wrong, bad))
            assert (refused.status, refused.code) == (416, "BLOB_UPLOAD_INVALID")
        status = registry.request("GET", location)
        assert (status.status, status.headers["range"]) == (204, f"0-{max(0, start - 1)}")
        location = status.headers["location"]
        assert registry.request("PATCH", location, piece, ranged(start, piece)).status == 202
    assert registry.request("PUT", f"{location}?digest={digest}").status == 201


def test_a_chunk_of_another_place_and_length(registry: RegistryProcess) -> None:
    """Where it begins is looked at first: the client is told to ask how far the upload is."""
    location = registry.request("POST", UPLOADS).headers["location"]
    refused = registry.request("PATCH", location, b"four", {**OCTETS, "Content-Range": "3-22"})
    assert (refused.status, refused.code) == (416, "BLOB_UPLOAD_INVALID")
    refused = registry.request("PATCH", location, b"four", {**OCTETS, "Content-Range": "0-20"})
    assert (refused.status, refused.code) == (400, "SIZE_INVALID")
    assert registry.request("GET", location).headers["range"] == "0-0"


def test_a_digest_that_is_none_is_said_of_any_upload(registry: RegistryProcess) -> None:
    for query in ("", "?digest=sha256:baddigest"):
        refused = registry.request("PUT", f"{UPLOADS}no-such-upload{query}", b"x", OCTETS)
        assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    refused = registry.request("PUT", f"{UPLOADS}no-such-upload?digest={digest_of(b'x')}", b"x", OCTETS)
    assert (refused.status, refused.code) == (404, "BLOB_UPLOAD_UNKNOWN")


@ALGORITHMS
def test_the_algorithm_said_beforehand(registry: RegistryProcess, algorithm: str) -> None:
    data = os.urandom(100)
    location = registry.request("POST", f"{UPLOADS}?digest-algorithm={algorithm}").headers["location"]
    assert registry.request("PATCH", location, data, OCTETS).status == 202
    assert registry.request("PUT", f"{location}?digest={digest_of(data, algorithm)}").status == 201
    assert registry.request("POST", f"{UPLOADS}?digest-algorithm=md5").code == "DIGEST_INVALID"


def test_an_upload_is_cancelled(registry: RegistryProcess) -> None:
    location = registry.request("POST", UPLOADS).headers["location"]
    registry.request("PATCH", location, b"some", OCTETS)
    assert registry.request("DELETE", location).status == 204
    assert registry.request("GET", location).code == "BLOB_UPLOAD_UNKNOWN"
    assert registry.request("PATCH", location, b"more", OCTETS).code == "BLOB_UPLOAD_UNKNOWN"
    assert registry.request("DELETE", location).status == 404
    assert not list((registry.root / "uploads").glob(location.rpartition("/")[2]))


@ALGORITHMS
def test_mounts(registry: RegistryProcess, algorithm: str) -> None:
    data = os.urandom(512)
    digest = digest_of(data, algorithm)
    missing = registry.request("POST", f"{UPLOADS}?mount={digest}&from={OTHER}")
    assert missing.status == 202, "what is not there is uploaded instead"
    registry.request("POST", f"/v2/{OTHER}/blobs/uploads/?digest={digest}", data, OCTETS)
    for query in (f"mount={digest}&from={OTHER}", f"mount={digest}"):
        mounted = registry.request("POST", f"{UPLOADS}?{query}")
        assert (mounted.status, mounted.headers["docker-content-digest"]) == (201, digest)
        assert registry.request("GET", mounted.headers["location"]).body == data
        assert registry.request("DELETE", mounted.headers["location"]).status == 202
    assert registry.request("GET", f"/v2/{OTHER}/blobs/{digest}").body == data, "the other repository keeps it"


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=2000-5000", 2000, 2048),
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 2048),
        ("bytes=-5000", 0, 2048),
    ],
)
def test_ranges(registry: RegistryProcess, wanted: str, start: int, stop: int) -> None:
    data = bytes(range(256)) * 8
    digest = registry.push_blob(REPOSITORY, data)
    got = registry.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": wanted})
    assert (got.status, got.body) == (206, data[start:stop])
    assert got.headers["content-range"] == f"bytes {start}-{stop - 1}/2048"
    assert got.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("wanted", ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"])
def test_ranges_that_are_not_there(registry: RegistryProcess, wanted: str) -> None:
    digest = registry.push_blob(REPOSITORY, bytes(range(256)) * 8)
    got = registry.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": wanted})
    assert (got.status, got.headers["content-range"]) == (416, "bytes */2048")


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=1-2-3"])
def test_what_is_no_single_range_means_everything(registry: RegistryProcess, wanted: str) -> None:
    data = bytes(range(256)) * 8
    digest = registry.push_blob(REPOSITORY, data)
    got = registry.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": wanted})
    assert (got.status, got.body) == (200, data)


def test_a_range_of_a_large_blob(registry: RegistryProcess) -> None:
    data = os.urandom(3 << 20)
    digest = registry.push_blob(REPOSITORY, data)
    with_range = registry.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": "bytes=100000-"})
    assert (with_range.status, with_range.body) == (206, data[100_000:])
    connection = registry.connect()
    for _ in range(3):  # the connection is in order after bytes that went around it
        assert registry.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", connection=connection).body == data
    connection.close()


def test_conditions(registry: RegistryProcess) -> None:
    digest = registry.push_blob(REPOSITORY, b"conditions")
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    headers = registry.request("GET", path).headers
    tag = headers["etag"]
    assert (tag, headers["cache-control"]) == (f'"{digest}"', "max-age=31536000")
    assert headers["x-content-type-options"] == "nosniff", "no browser takes anybody's bytes for a page"
    for condition in (tag, f'"x", W/{tag}', "*"):
        assert registry.request("GET", path, headers={"If-None-Match": condition}).status == 304
    assert registry.request("GET", path, headers={"If-None-Match": '"x"'}).status == 200
    gone = f"/v2/{REPOSITORY}/blobs/{digest_of(b'never pushed')}"
    assert registry.request("GET", gone, headers={"If-None-Match": "*"}).status == 404
