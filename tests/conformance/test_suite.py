"""The requests of the specification's conformance suite, in its order: with and without signing in.

The other modules here ask for more than the suite does; this one is about what only its order, its chunked bodies and
its use of tokens bring up.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from registry_people import PASSWORD, administration
from registry_process import OCI_INDEX, OCI_MANIFEST, Answer, registry_process
from suite_client import ACCEPT, OCTETS, SuiteClient

REPOSITORY, OTHER = "conformance/repo1", "conformance/repo2"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
EXAMPLES = [f"application/vnd.example.oci.conformance.v{number}" for number in (1, 2)]
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
SHUT_LAYER_TYPE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LEAST_CHUNK = 1024
ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


@contextmanager
def client_of(root: Path, user: str) -> Iterator[SuiteClient]:
    """Of a registry that takes manifests whose parts are missing, as one kind of data wants it; "": an open one."""
    if user:
        with administration(root) as records:
            records.accounts.add(user, PASSWORD)
    with registry_process(root, "--set", "accept_missing=true", anonymous="" if user else "write") as server:
        used = SuiteClient(server, user, PASSWORD)
        yield used
        used.close()


@pytest.fixture(scope="module")
def of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteClient]:
    with client_of(tmp_path_factory.mktemp("registry"), "") as used:
        yield used


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteClient]:
    with client_of(tmp_path_factory.mktemp("registry"), "conformance") as used:
        yield used


@pytest.fixture(params=["of_all", "signed_in"])
def client(request: pytest.FixtureRequest) -> SuiteClient:
    found: SuiteClient = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def forgetful(client: SuiteClient) -> Iterator[SuiteClient]:
    """Of the same registry, with a token of its own for each request."""
    used = SuiteClient(client.registry, client.user, PASSWORD, keeps=False)
    yield used
    used.close()


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


# Blobs


def begun(client: SuiteClient, repository: str = REPOSITORY) -> str:
    answer = client.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202
    return answer.headers["location"]


def post_only(client: SuiteClient, data: bytes, digest: str) -> Answer:
    return client.ask("POST", UPLOADS, data, OCTETS, digest=digest)


def post_put(client: SuiteClient, data: bytes, digest: str) -> Answer:
    return client.ask("PUT", begun(client), data, OCTETS, digest=digest)


def streamed(client: SuiteClient, data: bytes, digest: str) -> Answer:
    sent = client.ask("PATCH", begun(client), data, OCTETS, length=False)
    assert sent.status == 202
    return client.ask("PUT", sent.headers["location"], b"", OCTETS, digest=digest)


def chunked(
    client: SuiteClient, data: bytes, digest: str, *, last_is_put: bool = False, out_of_order: bool = False
) -> Answer:
    """Each chunk, if they are to come out of order, behind one from another place, after which the client asks how
    far the upload is."""
    location = begun(client)
    size = min(max(len(data) // 3 + 1, LEAST_CHUNK), len(data))
    start = 0
    while start < len(data):
        if out_of_order:
            wrong = start + size if start + size < len(data) else 0
            stop = min(wrong + size, len(data))
            is_put = last_is_put and stop == len(data)
            span = [("Content-Range", f"{wrong}-{stop - 1}")]
            query = {"digest": digest} if is_put else {}
            refused = client.ask("PUT" if is_put else "PATCH", location, data[wrong:stop], [*OCTETS, *span], **query)
            assert refused.status == 416
            status = client.ask("GET", location, **query)
            assert (status.status, status.headers["range"]) == (204, f"0-{max(0, start - 1)}")
            location = status.headers["location"]
        stop = min(start + size, len(data))
        span = [("Content-Range", f"{start}-{stop - 1}")]
        if last_is_put and stop == len(data):
            return client.ask("PUT", location, data[start:stop], [*OCTETS, *span], digest=digest)
        sent = client.ask("PATCH", location, data[start:stop], [*OCTETS, *span])
        assert sent.status == 202
        location, start = sent.headers["location"], stop
    return client.ask("PUT", location, b"", OCTETS, digest=digest)


def last_chunk_put(client: SuiteClient, data: bytes, digest: str) -> Answer:
    return chunked(client, data, digest, last_is_put=True)


def out_of_order(client: SuiteClient, data: bytes, digest: str) -> Answer:
    return chunked(client, data, digest, out_of_order=True)


def out_of_order_last_put(client: SuiteClient, data: bytes, digest: str) -> Answer:
    return chunked(client, data, digest, last_is_put=True, out_of_order=True)


OUT_OF_ORDER = [out_of_order, out_of_order_last_put]
WAYS = [post_only, post_put, streamed, chunked, last_chunk_put, *OUT_OF_ORDER]


def check_pushed(client: SuiteClient, done: Answer, data: bytes, digest: str) -> None:
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest)
    assert client.ask("GET", done.headers["location"]).body == data
    for method, body in (("HEAD", b""), ("GET", data)):
        found = client.ask(method, f"/v2/{REPOSITORY}/blobs/{digest}")
        assert (found.status, found.body, found.headers["content-length"]) == (200, body, str(len(data)))
        assert found.headers["docker-content-digest"] == digest


def check_blob_deleted(client: SuiteClient, digest: str, repository: str = REPOSITORY) -> None:
    assert client.ask("DELETE", f"/v2/{repository}/blobs/{digest}").status in (202, 404)
    assert client.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 404


def test_the_beginning(client: SuiteClient) -> None:
    assert client.ask("GET", "/v2/").status == 200
    assert client.ask("GET", "/v2/conformance/empty/tags/list").status in (200, 404)
    nothing = client.ask("GET", f"/v2/conformance/empty/referrers/{digest_of(os.urandom(8))}")
    assert (nothing.status, nothing.headers["content-type"]) == (200, OCI_INDEX)
    assert (nothing.json["schemaVersion"], nothing.json["mediaType"]) == (2, OCI_INDEX)


@ALGORITHMS
def test_blobs(client: SuiteClient, algorithm: str) -> None:
    missing = client.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(os.urandom(8), algorithm)}")
    assert missing.status == 404
    for way in WAYS:
        large = os.urandom(3 * LEAST_CHUNK - 5)
        for data in [large] if way in OUT_OF_ORDER else [os.urandom(512), large, b"", b"{}"]:
            digest = digest_of(data, algorithm)
            check_pushed(client, way(client, data, digest), data, digest)
            check_blob_deleted(client, digest)
        digest = digest_of(data := os.urandom(3 * LEAST_CHUNK - 5), algorithm)
        assert way(client, data + b"oh no", digest).status == 400
    location = begun(client)
    assert client.ask("DELETE", location, b"").status == 204


@ALGORITHMS
def test_mounts(client: SuiteClient, forgetful: SuiteClient, algorithm: str) -> None:
    """Who comes with a token for the one repository is told which token would do for both. Without a source it is
    looked for where the token is good for."""
    for used in (client, forgetful):
        data = os.urandom(512)
        digest = digest_of(data, algorithm)
        missing = used.ask("POST", UPLOADS, mount=digest, **{"from": OTHER})
        assert missing.status == 202
        check_pushed(used, used.ask("PUT", missing.headers["location"], data, OCTETS, digest=digest), data, digest)
        check_blob_deleted(used, digest)
        assert used.ask("PUT", begun(used, OTHER), data, OCTETS, digest=digest).status == 201
        for source in ({"from": OTHER}, {}):
            done = used.ask("POST", UPLOADS, mount=digest, **source)
            if not source and used is forgetful and used.user:
                assert done.status == 202
            else:
                check_pushed(used, done, data, digest)
                check_blob_deleted(used, digest)
        check_blob_deleted(used, digest, OTHER)


@ALGORITHMS
def test_ranges(client: SuiteClient, algorithm: str) -> None:
    data = os.urandom(2048)
    digest = digest_of(data, algorithm)
    assert post_put(client, data, digest).status == 201
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    for wanted, start, stop in (
        ("500-1499", 500, 1500),
        ("500-", 500, 2048),
        ("-500", 1548, 2048),
        ("2000-5000", 2000, 2048),
    ):
        found = client.ask("GET", path, None, [("Range", f"bytes={wanted}")])
        assert (found.status, found.body) == (206, data[start:stop])
        assert found.headers["content-length"] == str(stop - start)
        assert found.headers["content-range"] == f"bytes {start}-{stop - 1}/2048"
    for wanted in ("500-0", "5000-10000"):
        assert client.ask("GET", path, None, [("Range", f"bytes={wanted}")]).status == 416
    check_blob_deleted(client, digest)


# Manifests


class Data:
    """What one part of the suite pushes: blobs, manifests in order, tags; and which referrers are to be found then."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.referrers: dict[str, list[dict[str, Any]]] = {}

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data, self.algorithm)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(self, tag: str = "", count: int = 2, **more: Any) -> dict[str, Any]:
        parts = [self.blob(os.urandom(120), LAYER_TYPE + "+gzip") for _ in range(count)]
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
        described = self.blob(json.dumps({**config, "author": os.urandom(4).hex()}).encode(), CONFIG_TYPE)
        return self._add({"mediaType": OCI_MANIFEST, "config": described, "layers": parts, **more}, tag)

    def artifact(self, tag: str = "", kind: str = EXAMPLES[0], layer: bytes = b"", **more: Any) -> dict[str, Any]:
        empty = self.blob(b"{}", EMPTY_TYPE)
        parts = [self.blob(layer or os.urandom(2048), EMPTY_TYPE if layer else kind)]
        return self._add(
            {"mediaType": OCI_MANIFEST, "artifactType": kind, "config": empty, "layers": parts, **more}, tag
        )

    def index(self, tag: str = "", *children: dict[str, Any], **more: Any) -> dict[str, Any]:
        platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "arm64")]
        listed = [{**child, "platform": platform} for child, platform in zip(children, platforms, strict=False)]
        return self._add({"mediaType": OCI_INDEX, "manifests": listed, **more}, tag)

    def _add(self, document: dict[str, Any], tag: str) -> dict[str, Any]:
        raw = json.dumps({"schemaVersion": 2, **document}).encode()
        digest = digest_of(raw, self.algorithm)
        self.manifests[digest] = raw
        if tag:
            self.tags[tag] = digest
        described = {"mediaType": document["mediaType"], "digest": digest, "size": len(raw)}
        if "subject" in document:
            kind = document.get("artifactType") or document["config"]["mediaType"]
            expected = {**described, "artifactType": kind, "annotations": document.get("annotations", {})}
            self.referrers.setdefault(document["subject"]["digest"], []).append(expected)
        return described


def unique() -> dict[str, str]:
    return {"org.opencontainers.conformance": "hello conformance test", "org.example.x": os.urandom(8).hex()}


def of_kind(kind: str) -> Data:
    data = Data("sha512" if kind.endswith("sha512") else "sha256")
    subject: dict[str, Any] = {"mediaType": OCI_MANIFEST, "size": 123, "digest": digest_of(b"missing content")}
    if kind == "image":
        data.image(kind)
    elif kind == "large manifest":
        data.image("large-manifest", annotations={f"large-annotation-{number}": "A" * 10_000 for number in range(390)})
    elif kind in ("index", "sha512", "tag parameters", "tag parameters sha512"):
        data.index("" if kind == "sha512" else "index", data.image(), data.image())
        if kind.startswith("tag"):
            data.tags |= {f"parameter-{number}": digest for number, digest in enumerate(data.manifests)}
    elif kind == "nested index":
        data.index("nested-index", *(data.index("", data.image(), data.image()) for _ in range(2)))
    elif kind == "empty index":
        data.index("index")
    elif kind == "artifact":
        data.artifact(kind)
    elif kind == "artifact index":
        data.index("artifact-index", data.artifact(), data.artifact(), artifactType=EXAMPLES[0])
    elif kind == "artifact without layers":
        data.artifact("artifact-without-layers", layer=b"{}")
    elif kind == "artifacts with subject":
        subject = data.image("image")
        data.image(subject=subject)
        for number, example in enumerate(EXAMPLES):
            data.artifact(f"artifact{number}", example, subject=subject, annotations=unique())
    elif kind == "index with subject":
        subject = data.index("index", data.image(), data.image())
        children = [data.artifact(subject=subject, annotations=unique()) for _ in range(2)]
        data.index("tagged", *children, artifactType=EXAMPLES[0], subject=subject, annotations=unique())
    elif kind == "missing subject":
        data.artifact("tagged", subject=subject, annotations=unique())
    elif kind == "data field":
        config = {**data.blob(b"{}", EMPTY_TYPE), "data": "e30="}
        data.image("data-field", 0, config=config)
    elif kind == "non-distributable layers":
        shut = {"size": 12345, "urls": ["https://store.example.com/x"]}
        layers = [
            {"mediaType": SHUT_LAYER_TYPE + end, "digest": digest_of(os.urandom(8)), **shut} for end in ("+gzip", "")
        ]
        data.image("non-distributable", 0, layers=[*layers, data.blob(os.urandom(120), LAYER_TYPE)])
    elif kind == "custom fields":
        custom = {f"org.{os.urandom(8).hex()}": "x"}
        data.index("custom", data.image(**custom), data.image(**custom), **custom)
    elif kind == "no layers":
        data.image("no-layers", 0)
    elif kind == "sparse":
        data.image("sparse-image")
        del data.blobs[next(iter(data.blobs))]
        elsewhere = {"mediaType": OCI_MANIFEST, "digest": digest_of(os.urandom(8)), "size": 1024}
        data.index("sparse-index", data.image(), elsewhere)
    return data


KINDS = [
    "image", "large manifest", "index", "nested index", "empty index", "artifact", "artifact index",
    "artifact without layers", "artifacts with subject", "index with subject", "missing subject", "data field",
    "non-distributable layers", "custom fields", "no layers", "sparse", "sha512", "tag parameters",
    "tag parameters sha512",
]  # fmt: skip


# With tokens, what differs: several tags, deletes, referrers.
WITH_TOKENS = ["artifacts with subject", "tag parameters sha512"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_data(of_all: SuiteClient, kind: str) -> None:
    check_kind(of_all, kind)


@pytest.mark.parametrize("kind", WITH_TOKENS)
def test_kinds_of_data_with_tokens(signed_in: SuiteClient, kind: str) -> None:
    check_kind(signed_in, kind)


def check_kind(client: SuiteClient, kind: str) -> None:
    data = of_kind(kind)
    for number, (digest, content) in enumerate(data.blobs.items()):
        way = (post_put, post_only, streamed, chunked)[number % 4]
        assert way(client, content, digest).status == 201
    pushed: set[str] = set()
    for digest, raw in data.manifests.items():
        tags = [tag for tag, found in data.tags.items() if found == digest] if kind.startswith("tag") else []
        done = put_manifest(client, digest, raw, tags)
        check_manifest_pushed(client, done, digest, raw)
        assert {tag.strip() for tag in done.headers.get("oci-tag", "").split(",")} - {""} == set(tags)
        pushed |= set(tags)
    for tag, digest in data.tags.items():
        if tag not in pushed:
            raw = data.manifests[digest]
            check_manifest_pushed(client, put_manifest(client, tag, raw, []), digest, raw)
    check_listed(client, data)
    for reference, digest in [*data.tags.items(), *((digest, digest) for digest in data.manifests)]:
        raw = data.manifests[digest]
        for method, body in (("HEAD", b""), ("GET", raw)):
            found = client.ask(method, f"/v2/{REPOSITORY}/manifests/{reference}", None, ACCEPT)
            check_manifest(found, digest, raw, body)
    for digest, content in data.blobs.items():
        assert client.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").headers["content-length"] == str(len(content))
        assert client.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").body == content
    for subject, expected in data.referrers.items():
        check_referrers(client, subject, expected)
    for reference in [*data.tags, *reversed(data.manifests)]:
        path = f"/v2/{REPOSITORY}/manifests/{reference}"
        assert client.ask("DELETE", path).status == 202
        assert client.ask("HEAD", path, None, ACCEPT).status == 404
    for digest in data.blobs:
        check_blob_deleted(client, digest)


def put_manifest(client: SuiteClient, reference: str, raw: bytes, tags: list[str]) -> Answer:
    """As the suite sends them: in chunks, without a length."""
    headers = [("Content-Type", json.loads(raw)["mediaType"])]
    path = f"/v2/{REPOSITORY}/manifests/{reference}"
    query = "&".join(f"tag={tag}" for tag in tags)
    return client.ask("PUT", path + (f"?{query}" if query else ""), raw, headers, length=False)


def check_manifest_pushed(client: SuiteClient, done: Answer, digest: str, raw: bytes) -> None:
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest), done
    assert done.headers.get("oci-subject") == json.loads(raw).get("subject", {}).get("digest")
    check_manifest(client.ask("GET", done.headers["location"], None, ACCEPT), digest, raw, raw)


def check_manifest(found: Answer, digest: str, raw: bytes, body: bytes) -> None:
    assert (found.status, found.body, found.headers["content-length"]) == (200, body, str(len(raw)))
    assert found.headers["content-type"] == json.loads(raw)["mediaType"]
    assert found.headers["docker-content-digest"] == digest


def check_listed(client: SuiteClient, data: Data) -> None:
    listed = client.ask("GET", f"/v2/{REPOSITORY}/tags/list")
    if not data.tags:
        assert listed.status in (200, 404)
        return
    tags = listed.json["tags"]
    assert set(data.tags) <= set(tags)
    half = len(tags) // 2
    if half:
        ordered = sorted(tags)
        behind = client.ask("GET", f"/v2/{REPOSITORY}/tags/list", last=ordered[half - 1]).json["tags"]
        assert behind == ordered[half:]


def check_referrers(client: SuiteClient, subject: str, expected: list[dict[str, Any]]) -> None:
    path = f"/v2/{REPOSITORY}/referrers/{subject}"
    for kind in ("", *{one["artifactType"] for one in expected}):
        found = client.ask("GET", path, **({"artifactType": kind} if kind else {}))
        assert (found.status, found.headers["content-type"]) == (200, OCI_INDEX)
        assert found.headers.get("oci-filters-applied") == ("artifactType" if kind else None)
        listed = [{"annotations": {}, **one} for one in found.json["manifests"]]
        wanted = [one for one in expected if kind in ("", one["artifactType"])]
        assert sorted(listed, key=_digest) == sorted(wanted, key=_digest)


def _digest(item: dict[str, Any]) -> str:
    return str(item["digest"])


def test_manifests_that_are_none(client: SuiteClient) -> None:
    for reference in (digest_of(os.urandom(8)), "missing-tag", ".INVALID_MANIFEST_NAME"):
        for method in ("GET", "HEAD"):
            answer = client.ask(method, f"/v2/{REPOSITORY}/manifests/{reference}", None, ACCEPT)
            assert answer.status == 404, reference
    data = Data()
    data.image()
    for digest, content in data.blobs.items():
        assert post_put(client, content, digest).status == 201
    ((digest, raw),) = data.manifests.items()
    assert put_manifest(client, digest, raw + b"  ", []).status == 400
    assert client.ask("HEAD", f"/v2/{REPOSITORY}/manifests/{digest}").status == 404
    for reference in ("sha256:baddigeststring", "sha256:totallywrong"):
        refused = put_manifest(client, reference, raw, [])
        assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
        path = f"/v2/{REPOSITORY}/manifests/{reference}"
        found = client.ask("GET", path, b"blablabla", [("Content-Type", OCI_MANIFEST)])
        assert found.status in (400, 404)
        assert found.code in ("DIGEST_INVALID", "MANIFEST_UNKNOWN")
    assert client.ask("DELETE", f"/v2/{REPOSITORY}/manifests/{digest}").status == 404
    for digest in data.blobs:
        check_blob_deleted(client, digest)
