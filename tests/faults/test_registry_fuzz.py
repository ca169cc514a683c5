"""Requests made at random, of the protocol's words and of nonsense: each is answered as the specification says."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from registry_process import OCI_INDEX, OCI_MANIFEST, RegistryProcess, digest_of, image, registry_process

# The same ones each time; CAIS_LONG_TESTS makes others, and more.
LONG = bool(os.environ.get("CAIS_LONG_TESTS"))
REPOSITORY, LAYER = "fuzz/app", b"a layer"
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "FUZZ"]


class Seeds(NamedTuple):
    """What is there, so that a request may be about it."""

    manifest: str
    upload: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with registry_process(tmp_path_factory.mktemp("fuzz"), "--workers", "1") as server:
        yield server
        # It is alive, is what it was, and had no defect to tell of.
        assert server.request("GET", "/v2/").status == 200
        assert server.push_image(REPOSITORY, "after", LAYER)
        assert "Traceback" not in server.log(), server.log()[-4000:]


@pytest.fixture(scope="module")
def seeds(server: RegistryProcess) -> Seeds:
    manifest = server.push_image(REPOSITORY, "latest", LAYER)
    begun = server.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    return Seeds(manifest, begun.headers["location"].rpartition("/")[2])


class Wanted(NamedTuple):
    """A request; ``MANIFEST`` and ``UPLOAD`` in its words stand for what is there."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes


NONSENSE = st.one_of(
    st.sampled_from(
        ["..", ".", "", "%2e%2e", "%2F", "%00", "%ff", "%", "%zz", "A", "a" * 300, "\xc3\xa9", "a%0d%0ab", "-", "_",
         "a_-b", "a;b", "a:b", "a@b", "*", "'", '"', "\\", "%25", "+", "~", "<x>", "{}", "0", "sha256", "tags"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters="?#"), max_size=12),
)  # fmt: skip
DIGESTS = st.one_of(
    st.sampled_from(
        [digest_of(LAYER), "MANIFEST", digest_of(b"not there"), digest_of(LAYER, "sha512"), "sha256:" + "A" * 64,
         "sha256:" + "0" * 63, "md5:" + "0" * 32, "sha256:", ":", "sha256:" + "0" * 5000, "sha512:" + "0" * 64]
    ),
    NONSENSE,
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from([REPOSITORY, "fuzz/other", "fuzz", "blobs/uploads", "a/manifests/b", "v2"]),
    st.lists(NONSENSE, min_size=1, max_size=4).map("/".join),
)
TAILS = st.one_of(
    st.tuples(st.sampled_from(["manifests/", "blobs/", "referrers/"]), st.one_of(DIGESTS, st.just("latest"))),
    st.tuples(st.just("blobs/uploads/"), st.one_of(st.sampled_from(["", "UPLOAD", "0" * 32]), NONSENSE)),
    st.tuples(st.sampled_from(["tags/list", "tags/list/", "blobs/uploads", ""]), NONSENSE.map(lambda _: "")),
    st.tuples(NONSENSE, NONSENSE),
).map("".join)
PATHS = st.one_of(
    st.tuples(NAMES, TAILS).map(lambda parts: f"/v2/{parts[0]}/{parts[1]}"),
    st.sampled_from(
        ["/v2/", "/v2", "/v2/_catalog", "/v1/search", "/v1/_ping", "/token", "/healthz", "/readyz", "/", "//v2/"]
    ),
    NONSENSE.map(lambda text: f"/{text}"),
)  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from(["0", "-1", "1", "9" * 30, "1e3", "", "x", "\u0663".encode().decode("latin-1")]), NONSENSE
)
QUERIES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["digest", "mount", "last", "tag", "artifactType", "digest-algorithm"]), DIGESTS),
        st.tuples(st.sampled_from(["from", "scope", "service", "q", "account"]), NAMES),
        st.tuples(st.just("n"), NUMBERS),
        st.tuples(NONSENSE, NONSENSE),
    ).map("=".join),
    max_size=3,
).map("&".join)
RANGES = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map("-".join),
    st.tuples(NUMBERS, NUMBERS).map("-".join).map("bytes={}".format),
    NONSENSE,
)
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["Content-Range", "Range"]), RANGES),
        st.tuples(st.just("Content-Type"), st.one_of(st.sampled_from([OCI_MANIFEST, OCI_INDEX, "x", ""]), NONSENSE)),
        st.tuples(st.sampled_from(["If-None-Match", "Accept", "X-Request-Id", "X-Forwarded-For", "Host"]), NONSENSE),
        st.tuples(
            st.just("Authorization"), st.tuples(st.sampled_from(["Basic", "Bearer", "x"]), NONSENSE).map(" ".join)
        ),
    ),
    max_size=3,
)  # fmt: skip
DOCUMENTS = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.sampled_from([OCI_MANIFEST, OCI_INDEX, digest_of(LAYER), len(LAYER), 2, -1, 1 << 70]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "subject", "platform",
                 "annotations", "artifactType", "urls", "data", "x"]
            ),
            inner, max_size=6,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
BODIES = st.one_of(
    st.just(b""), st.just(LAYER), st.binary(max_size=40), DOCUMENTS.map(lambda value: json.dumps(value).encode()),
    # Nearly good: one field of a manifest is another.
    st.tuples(
        st.sampled_from(["config", "layers", "subject", "mediaType", "artifactType", "annotations"]), DOCUMENTS
    ).map(lambda pair: json.dumps(image(b"{}", LAYER) | {pair[0]: pair[1]}).encode()),
)  # fmt: skip
REQUESTS = st.builds(Wanted, st.sampled_from(METHODS), PATHS, QUERIES, HEADERS, BODIES)


@settings(max_examples=3000 if LONG else 150, deadline=None, derandomize=not LONG)
@given(wanted=REQUESTS)
def test_each_request_has_an_answer_of_the_protocol(server: RegistryProcess, seeds: Seeds, wanted: Wanted) -> None:
    connection = server.connect(30)
    try:
        target = f"{wanted.path}?{wanted.query}".replace("MANIFEST", seeds.manifest).replace("UPLOAD", seeds.upload)
        connection.putrequest(wanted.method, "/", skip_host=True, skip_accept_encoding=True)
        # The library would not send what no client should.
        connection._buffer[0] = f"{wanted.method} {target} HTTP/1.1".encode("latin-1")  # type: ignore[attr-defined]
        for name, value in wanted.headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(wanted.body)))
        connection.endheaders(wanted.body)
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    assert answer.status < 500 and answer.status != 0, (wanted, answer.status, said)
    assert not {name.lower() for name in answer.headers} & {"set-cookie", "ab"}
    if answer.status >= 400 and wanted.method != "HEAD" and answer.headers.get("Content-Type") == "application/json":
        assert all(error["code"].isupper() and error["message"] for error in json.loads(said)["errors"]), said
    elif answer.status >= 400 and wanted.method != "HEAD":
        assert answer.status in (400, 405), (
            wanted,
            answer.status,
            said,
        )  # no HTTP; or /token, which has no such method


def test_bytes_that_are_nearly_http(server: RegistryProcess, seeds: Seeds) -> None:
    """Good requests with some of their bytes changed, left out, twice or in another place."""
    chance = random.Random(None if LONG else 5)
    body = json.dumps(image(b"{}", LAYER)).encode()
    good = [
        f"GET /v2/{REPOSITORY}/blobs/{digest_of(LAYER)} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-3\r\n\r\n".encode(),
        f"PUT /v2/{REPOSITORY}/manifests/y HTTP/1.1\r\nHost: x\r\nContent-Type: {OCI_MANIFEST}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body,
        f"PATCH /v2/{REPOSITORY}/blobs/uploads/{seeds.upload} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        "Content-Range: 0-3\r\n\r\n4\r\nfour\r\n0\r\n\r\n".encode(),
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\r\n"
        b"GET /token?scope=x HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    host, _, port = server.address.rpartition(":")
    for _ in range(3000 if LONG else 300):
        data = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            at = chance.randrange(len(data))
            kind = chance.randrange(4)
            if kind == 0:
                data[at] = (
                    chance.choice(b"\x00\r\n\x7f\xff :/%0129;") if chance.random() < 0.7 else chance.randrange(256)
                )
            elif kind == 1:
                del data[at : at + chance.randrange(1, 9)]
            elif kind == 2:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            else:
                data[at:at] = chance.choice(
                    (b"\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\x00")
                )
            data = data or bytearray(b"\r\n")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            said = b""
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    said += piece
            except (ConnectionResetError, BrokenPipeError):
                pass  # it has heard enough
        for line in said.split(b"\r\n"):
            assert not line.startswith(b"HTTP/1.1 5"), (bytes(data), said)


def test_what_no_client_of_the_library_sends(server: RegistryProcess) -> None:
    """A check of the checks: what is right is not refused by the way in which these requests are made."""
    connection = http.client.HTTPConnection(server.address)
    connection.putrequest("GET", "/")
    connection._buffer[0] = b"GET /v2/ HTTP/1.1"  # type: ignore[attr-defined]
    connection.endheaders()
    assert connection.getresponse().status == 200
    connection.close()
