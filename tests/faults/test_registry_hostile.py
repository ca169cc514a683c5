"""Clients that lie, stand still, break off or send nonsense; and a registry that is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from registry_process import (
    OCI_INDEX,
    OCI_MANIFEST,
    RegistryProcess,
    descriptor,
    digest_of,
    image,
    registry_process,
)

DIGEST = "sha256:" + "0" * 64
DEADLINE_SECONDS = 30.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    settings = ("limits.head_timeout=1s", "limits.body_timeout=1s", "limits.idle_timeout=1s", "limits.blob=1MiB")
    flags = [word for setting in settings for word in ("--set", setting)]
    with registry_process(tmp_path_factory.mktemp("impatient"), "--workers", "1", *flags) as server:
        yield server


def dial(registry: RegistryProcess) -> socket.socket:
    host, _, port = registry.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS)


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    said = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return said
        if not piece:
            return said
        said += piece


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "a/../b",
        "a/..%2F..%2Fetc",
        "%2e%2e/%2e%2e",
        "a%2F%2Fb",
        "a//b",
        "/a",
        "a/",
        "A",
        "a_-b",
        "-a",
        "a%00b",
        "b%C3%BCcher",
        "%ff%fe",
        "a" * 256,
        "a%0d%0aset-cookie:x",
        "a%20b",
        "a;b",
        "...",
    ],
)
def test_names_that_are_none(registry: RegistryProcess, name: str) -> None:
    for method, path in (
        ("GET", f"/v2/{name}/tags/list"),
        ("GET", f"/v2/{name}/manifests/latest"),
        ("GET", f"/v2/{name}/blobs/{DIGEST}"),
        ("POST", f"/v2/{name}/blobs/uploads/"),
        ("PUT", f"/v2/{name}/manifests/latest"),
        ("GET", f"/v2/{name}/referrers/{DIGEST}"),
        ("POST", f"/v2/hostile/x/blobs/uploads/?mount={DIGEST}&from={name}"),
    ):
        answer = registry.request(method, path)
        assert answer.status in (400, 404), (method, path, answer)
        assert answer.json["errors"][0]["code"]
        assert "set-cookie" not in answer.headers


def test_words_of_the_protocol_are_names(registry: RegistryProcess) -> None:
    """The longest name wins: an endpoint is told from its end."""
    for name in ("manifests", "blobs/uploads/tags", "tags/list", "v2/blobs", "a/referrers/b"):
        digest = registry.push_image(name, "tags", name.encode())
        assert registry.request("GET", f"/v2/{name}/manifests/tags").headers["docker-content-digest"] == digest
        assert registry.request("GET", f"/v2/{name}/tags/list").json["name"] == name


@pytest.mark.parametrize(
    "digest",
    ["md5:" + "0" * 32, "sha256:" + "0" * 63, "sha256:" + "G" * 64, "sha256", "sha512:" + "0" * 64, ":", "%2e"],
)
def test_digests_that_are_none(registry: RegistryProcess, digest: str) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        assert registry.request(method, f"/v2/hostile/x/blobs/{digest}").status == 400
    assert registry.request("GET", f"/v2/hostile/x/referrers/{digest}").status == 400
    assert registry.request("POST", f"/v2/hostile/x/blobs/uploads/?digest={digest}", b"x").status == 400
    assert registry.request("POST", f"/v2/hostile/x/blobs/uploads/?mount={digest}").status == 400
    location = registry.request("POST", "/v2/hostile/x/blobs/uploads/").headers["location"]
    assert registry.request("PUT", f"{location}?digest={digest}", b"x").status == 400
    assert registry.request("PUT", location, b"x").code == "DIGEST_INVALID"


@pytest.mark.parametrize("path", ["/", "/v2/x", "/v2/x/y", "/v2//", "/v3/", "/v2/x/blobs/", "/v2/x/manifests/", "/%"])
def test_paths_that_are_none(registry: RegistryProcess, path: str) -> None:
    assert registry.request("GET", path).status in (400, 404)


def test_methods_that_are_not_for_it(registry: RegistryProcess) -> None:
    answer = registry.request("POST", "/v2/hostile/x/manifests/y", b"{}")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert "PUT" in answer.headers["allow"]
    assert registry.request("PUT", "/v2/_catalog").status in (404, 405)


def nested(depth: int) -> bytes:
    return b'{"schemaVersion":2,"x":' + b"[" * depth + b"]" * depth + b"}"


MANIFESTS = {
    "empty": (b"", 400),
    "no JSON": (b"\xff\xfe", 400),
    "a list": (b"[]", 400),
    "deep": (nested(100_000), 400),
    "ten megabytes": (b'{"a":"' + b"x" * (10 << 20) + b'"}', 413),
    "twice the same key": (b'{"schemaVersion":2,"schemaVersion":2,"config":{},"layers":[]}', 400),
    "schema 1": (b'{"schemaVersion":1}', 400),
    "no config": (b'{"schemaVersion":2,"layers":[]}', 400),
    "layers are a number": (b'{"schemaVersion":2,"config":{"digest":"%s","size":1},"layers":1}' % DIGEST.encode(), 400),
    "a negative size": (b'{"schemaVersion":2,"config":{"digest":"%s","size":-1},"layers":[]}' % DIGEST.encode(), 400),
    "a digest of another kind": (b'{"schemaVersion":2,"config":{"digest":"md5:x","size":1},"layers":[]}', 400),
    "both": (b'{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}', 400),
    "half a character": (
        b'{"schemaVersion":2,"artifactType":"\\ud800","config":{"digest":"%s","size":1},"layers":[]}' % DIGEST.encode(),
        400,
    ),
    "a NUL": (
        b'{"schemaVersion":2,"artifactType":"\\u0000","config":{"digest":"%s","size":1},"layers":[]}' % DIGEST.encode(),
        400,
    ),
    "NaN": (b'{"schemaVersion":NaN,"config":{},"layers":[]}', 400),
    "a large number": (b'{"schemaVersion":2,"config":{"digest":"x","size":' + b"9" * 5000 + b'},"layers":[]}', 400),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests_that_are_none(registry: RegistryProcess, kind: str) -> None:
    content, status = MANIFESTS[kind]
    for media_type in (OCI_MANIFEST, OCI_INDEX):
        answer = registry.request("PUT", "/v2/hostile/x/manifests/y", content, {"Content-Type": media_type})
        assert (answer.status, answer.code) == (status, "MANIFEST_INVALID"), answer
    assert registry.request("GET", "/v2/hostile/x/manifests/y").status == 404


def test_an_index_of_itself(registry: RegistryProcess) -> None:
    """No document holds its own digest, so that a circle would need what is not there yet: it is refused."""
    child = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(b"the parent", OCI_INDEX)]}
    path = "/v2/hostile/circle/manifests/x"
    assert registry.request("PUT", path, json.dumps(child), {"Content-Type": OCI_INDEX}).status == 400


@pytest.mark.parametrize("media_type", ["text/html", "application/json", "application/vnd.oci.image.layer.v1.tar", "x"])
def test_manifests_of_a_wrong_type(registry: RegistryProcess, media_type: str) -> None:
    registry.push_blob("hostile/types", b"{}")
    raw = json.dumps(image(b"{}"))
    answer = registry.request("PUT", "/v2/hostile/types/manifests/x", raw, {"Content-Type": media_type})
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    other = registry.request("PUT", "/v2/hostile/types/manifests/x", raw, {"Content-Type": OCI_INDEX})
    assert other.code == "MANIFEST_INVALID", "the document says another type"


@pytest.mark.parametrize("wanted", ["5-1", "x", "0-", "-5", "0-99999999999999999999", "bytes 0-4/3", "0-100"])
def test_ranges_of_uploads_that_lie(registry: RegistryProcess, wanted: str) -> None:
    location = registry.request("POST", "/v2/hostile/ranges/blobs/uploads/").headers["location"]
    answer = registry.request("PATCH", location, b"four", {"Content-Range": wanted})
    assert answer.status in (400, 416)
    assert registry.request("GET", location).headers["range"] == "0-0"
    # What is sent in chunks has no length to compare with before it is there.
    pieces = iter([b"fo", b"ur"])
    streamed = registry.request("PATCH", location, pieces, {"Content-Range": "0-9"})
    assert (streamed.status, streamed.code) == (400, "SIZE_INVALID")


def test_a_body_that_breaks_off_goes_on_from_its_last_byte(registry: RegistryProcess) -> None:
    data = os.urandom(300_000)
    location = registry.request("POST", "/v2/hostile/broken/blobs/uploads/").headers["location"]
    connection = dial(registry)
    connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode())
    connection.sendall(data[:200_000])
    connection.close()

    def there() -> int:
        return int(registry.request("GET", location).headers["range"].removeprefix("0-")) + 1

    wait_until(lambda: there() == 200_000, "what was sent before is kept")
    rest = data[200_000:]
    headers = {"Content-Range": f"200000-{len(data) - 1}"}
    assert registry.request("PATCH", location, rest, headers).status == 202
    assert registry.request("PUT", f"{location}?digest={digest_of(data)}").status == 201
    assert registry.request("GET", f"/v2/hostile/broken/blobs/{digest_of(data)}").body == data


def test_a_whole_blob_that_breaks_off_leaves_nothing(impatient: RegistryProcess) -> None:
    before = set((impatient.root / "uploads").iterdir())
    connection = dial(impatient)
    path = f"/v2/hostile/whole/blobs/uploads/?digest={DIGEST}"
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome".encode())
    wait_until(lambda: set((impatient.root / "uploads").iterdir()) - before, "the upload has begun")
    connection.close()
    wait_until(lambda: set((impatient.root / "uploads").iterdir()) == before, "its file is gone")


def test_two_writers_of_one_upload(registry: RegistryProcess) -> None:
    """The second is told so while the first goes on; bytes of both are never mixed."""
    location = registry.request("POST", "/v2/hostile/two/blobs/uploads/").headers["location"]
    upload = registry.root / "uploads" / location.rpartition("/")[2]
    first = dial(registry)
    # Of a short body with its length nothing is written before all of it is there.
    first.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour".encode())
    wait_until(upload.exists, "the first one writes")
    second = registry.request("PATCH", location, b"another!")
    assert (second.status, second.code) == (409, "BLOB_UPLOAD_INVALID")
    third = registry.request("PUT", f"{location}?digest={digest_of(b'another!')}", b"another!")
    assert third.status == 409
    first.sendall(b"\r\n4\r\nmore\r\n0\r\n\r\n")
    assert first.recv(65536).startswith(b"HTTP/1.1 202")
    first.close()
    assert registry.request("PUT", f"{location}?digest={digest_of(b'fourmore')}").status == 201


def test_an_upload_of_another_repository(registry: RegistryProcess) -> None:
    location = registry.request("POST", "/v2/hostile/mine/blobs/uploads/").headers["location"]
    elsewhere = location.replace("/mine/", "/yours/")
    for method in ("GET", "PATCH", "DELETE"):
        assert registry.request(method, elsewhere, b"x" if method == "PATCH" else None).code == "BLOB_UPLOAD_UNKNOWN"
    for wrong in ("x", "../x", "0" * 32, "%2e%2e", "a" * 300):
        assert registry.request("PATCH", f"/v2/hostile/mine/blobs/uploads/{wrong}", b"x").status in (400, 404)


def test_uploads_that_never_end(impatient: RegistryProcess) -> None:
    location = impatient.request("POST", "/v2/hostile/endless/blobs/uploads/").headers["location"]
    answer = impatient.request("PATCH", location, b"x" * (1 << 20))
    assert answer.status == 202
    refused = impatient.request("PATCH", location, b"x")
    assert (refused.status, refused.code) == (413, "SIZE_INVALID")
    assert impatient.request("GET", location).headers["range"] == f"0-{(1 << 20) - 1}", "it is where it was"
    connection = dial(impatient)
    connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0
    try:
        while sent < 100 << 20:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    assert sent < 60 << 20, "it does not read for ever what it will not keep"
    connection.close()


def test_a_client_that_sends_no_head(impatient: RegistryProcess) -> None:
    for text in (b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n", b"\r\n"):
        connection = dial(impatient)
        connection.sendall(text)
        assert b"200 OK" not in everything(connection)
        connection.close()


def test_a_client_that_sends_no_body(impatient: RegistryProcess) -> None:
    location = impatient.request("POST", "/v2/hostile/slow/blobs/uploads/").headers["location"]
    connection = dial(impatient)
    connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome".encode())
    assert everything(connection) == b""
    connection.close()
    wait_until(lambda: impatient.request("GET", location).headers["range"] == "0-3", "what came is kept")


def test_a_client_that_reads_nothing(impatient: RegistryProcess) -> None:
    data = os.urandom(1 << 20)
    digest = impatient.push_blob("hostile/unread", data)
    request = f"GET /v2/hostile/unread/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 50
    connection = dial(impatient)
    connection.sendall(request)
    descriptors = Path(f"/proc/{worker_of(impatient)}/fd")
    wait_until(lambda: blobs_open(descriptors), "it sends")
    wait_until(lambda: not blobs_open(descriptors), "it gives up")
    connection.close()


def worker_of(registry: RegistryProcess) -> int:
    children = Path(f"/proc/{registry.process.pid}/task/{registry.process.pid}/children").read_text().split()
    return int(children[0])


def blobs_open(descriptors: Path) -> list[str]:
    found = []
    for entry in descriptors.iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if "/blobs/sha" in target:
            found.append(target)
    return found


def test_heads_that_are_too_long(registry: RegistryProcess) -> None:
    connection = dial(registry)
    try:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: ")
        for _ in range(100):
            connection.sendall(b"x" * 10_000)
    except OSError:
        pass
    assert b"200 OK" not in everything(connection)
    connection.close()


@pytest.mark.parametrize(
    "request_text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v2/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
    ],
)
def test_no_http(registry: RegistryProcess, request_text: bytes) -> None:
    connection = dial(registry)
    connection.sendall(request_text)
    connection.shutdown(socket.SHUT_WR)
    said = everything(connection)
    assert said == b"" or said.startswith(b"HTTP/1.1 4"), said
    connection.close()
    assert registry.request("GET", "/v2/").status == 200


def test_more_connections_than_a_shell_allows_files(tmp_path: Path) -> None:
    """And where there are more than the system allows: they are turned away, and nothing else happens."""
    limited = ("sh", "-c", 'ulimit -S -n 64 && ulimit -H -n 300 && exec "$0" "$@"')
    with registry_process(tmp_path, "--workers", "1", by=limited) as registry:
        with ExitStack() as crowd:
            for _ in range(150):
                crowd.enter_context(dial(registry))
            assert registry.request("GET", "/v2/").status == 200
            for _ in range(250):
                crowd.enter_context(dial(registry))

        def answers() -> bool:
            try:
                return registry.request("GET", "/v2/").status == 200
            except (OSError, HTTPException):
                return False

        wait_until(answers, "there is room again")
        assert registry.process.poll() is None and "another begins" not in registry.log()


def test_a_killed_registry_goes_on_with_an_upload(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    with registry_process(tmp_path) as before:
        location = before.request("POST", "/v2/killed/x/blobs/uploads/").headers["location"]
        assert before.request("PATCH", location, data[: 2 << 20]).status == 202
        kept = before.push_image("killed/x", "1", b"acknowledged")
        children = Path(f"/proc/{before.process.pid}/task/{before.process.pid}/children").read_text().split()
        before.stop(signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "workers end with it")
    with registry_process(tmp_path) as after:
        assert after.request("GET", location).headers["range"] == f"0-{(2 << 20) - 1}"
        headers = {"Content-Range": f"{2 << 20}-{len(data) - 1}"}
        assert after.request("PATCH", location, data[2 << 20 :], headers).status == 202
        assert after.request("PUT", f"{location}?digest={digest_of(data)}").status == 201
        assert after.request("GET", f"/v2/killed/x/blobs/{digest_of(data)}").body == data
        assert after.request("HEAD", "/v2/killed/x/manifests/1").headers["docker-content-digest"] == kept


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with registry_process(tmp_path, "--workers", "1") as registry:
        first = worker_of(registry)
        os.kill(first, signal.SIGKILL)
        children = Path(f"/proc/{registry.process.pid}/task/{registry.process.pid}/children")
        wait_until(lambda: children.read_text().split() not in ([], [str(first)]), "another one begins")
        assert registry.request("GET", "/v2/").status == 200


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    with registry_process(tmp_path, "--workers", "1") as registry:
        location = registry.request("POST", "/v2/stopped/x/blobs/uploads/").headers["location"]
        upload = registry.root / "uploads" / location.rpartition("/")[2]
        connection = dial(registry)
        query = f"?digest={digest_of(b'fourmore')}"
        head = f"PUT {location}{query} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"4\r\nfour")
        wait_until(upload.exists, "it has begun")
        registry.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            try:
                dial(registry).close()
            except OSError:
                return True
            return False

        wait_until(refuses, "no new connections")
        connection.sendall(b"\r\n4\r\nmore\r\n0\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 201")
        connection.close()
        assert registry.process.wait(30) == 0
