"""Manifests, tags and referrers, as the specification's conformance suite asks for them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

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

REPOSITORY = "conformance/manifests"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EXAMPLE = "application/vnd.example.oci.conformance.v1"


@pytest.fixture(scope="module")
def config(registry: RegistryProcess) -> dict[str, Any]:
    registry.push_blob(REPOSITORY, CONFIG)
    registry.push_blob(REPOSITORY, b"{}")
    return descriptor(CONFIG, CONFIG_TYPE)


def document(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []} | more


def index_of(*children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children), **more}


def unique() -> dict[str, str]:
    return {"org.example.unique": os.urandom(8).hex()}


def described(registry: RegistryProcess, digest: str) -> dict[str, Any]:
    headers = registry.request("HEAD", f"/v2/{REPOSITORY}/manifests/{digest}").headers
    return {"mediaType": headers["content-type"], "digest": digest, "size": int(headers["content-length"])}


def put(registry: RegistryProcess, reference: str, raw: bytes, media_type: str = OCI_MANIFEST) -> Any:
    return registry.request("PUT", f"/v2/{REPOSITORY}/manifests/{reference}", raw, {"Content-Type": media_type})


# What the suite calls its kinds of data.
KINDS: dict[str, dict[str, Any]] = {
    "no layers": {},
    "artifact": {"artifactType": EXAMPLE, "layers": [descriptor(b"{}", EXAMPLE)]},
    "artifact without layers": {
        "artifactType": EXAMPLE,
        "config": descriptor(b"{}", EMPTY_TYPE),
        "layers": [descriptor(b"{}", EMPTY_TYPE)],
    },
    "custom fields": {"org.example.custom": {"deep": [1, "two", None]}, "other": 3},
    "data field": {"config": {**descriptor(b"{}", EMPTY_TYPE), "data": "e30="}},
    "large manifest": {"annotations": {f"large-annotation-{number}": "A" * 10_000 for number in range(390)}},
    "non-distributable layers": {
        "layers": [
            {
                "mediaType": f"application/vnd.oci.image.layer.nondistributable.v1.tar{compression}",
                "digest": digest_of(b"elsewhere"),
                "size": 123456,
                "urls": ["https://store.example.com/elsewhere"],
            }
            for compression in ("", "+gzip", "+zstd")
        ]
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_by_digest_and_tag(registry: RegistryProcess, config: dict[str, Any], kind: str) -> None:
    raw = json.dumps(document(config) | KINDS[kind], indent=1).encode()
    digest, tag = digest_of(raw), kind.replace(" ", "-")
    for reference in (digest, tag):
        done = put(registry, reference, raw)
        assert (done.status, done.headers["docker-content-digest"]) == (201, digest), done
        for path in (done.headers["location"], f"/v2/{REPOSITORY}/manifests/{reference}"):
            got = registry.request("GET", path, headers={"Accept": f"{OCI_INDEX}, {OCI_MANIFEST}"})
            assert (got.status, got.body, got.headers["content-type"]) == (200, raw, OCI_MANIFEST)
            assert got.headers["docker-content-digest"] == digest
            head = registry.request("HEAD", path)
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(raw)))
    assert tag in registry.request("GET", f"/v2/{REPOSITORY}/tags/list").json["tags"]
    assert registry.request("DELETE", f"/v2/{REPOSITORY}/manifests/{tag}").status == 202
    assert registry.request("HEAD", f"/v2/{REPOSITORY}/manifests/{tag}").status == 404
    assert registry.request("HEAD", f"/v2/{REPOSITORY}/manifests/{digest}").status == 200, "only the tag is gone"
    assert registry.request("DELETE", f"/v2/{REPOSITORY}/manifests/{digest}").status == 202
    assert registry.request("HEAD", f"/v2/{REPOSITORY}/manifests/{digest}").status == 404
    assert registry.request("DELETE", f"/v2/{REPOSITORY}/manifests/{digest}").code == "MANIFEST_UNKNOWN"


def test_a_manifest_that_does_not_say_its_type(registry: RegistryProcess, config: dict[str, Any]) -> None:
    for value, media_type in (
        ({"schemaVersion": 2, "config": config, "layers": []}, OCI_MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, OCI_INDEX),
    ):
        assert put(registry, "typeless", json.dumps(value).encode(), media_type).status == 201
        found = registry.request("GET", f"/v2/{REPOSITORY}/manifests/typeless")
        assert found.headers["content-type"] == media_type


def test_indexes_of_images_of_indexes_and_of_nothing(registry: RegistryProcess, config: dict[str, Any]) -> None:
    children = []
    for architecture in ("amd64", "arm64"):
        digest = registry.push_manifest(REPOSITORY, "", document(config, annotations=unique()))
        platform = {"os": "linux", "architecture": architecture}
        children.append({**described(registry, digest), "platform": platform})
    inner = registry.push_manifest(REPOSITORY, "index", index_of(*children), OCI_INDEX)
    outer = registry.push_manifest(REPOSITORY, "nested", index_of(described(registry, inner)), OCI_INDEX)
    registry.push_manifest(REPOSITORY, "empty-index", index_of(artifactType=EXAMPLE), OCI_INDEX)
    got = registry.request("GET", f"/v2/{REPOSITORY}/manifests/nested")
    assert (digest_of(got.body), got.headers["content-type"]) == (outer, OCI_INDEX)


@pytest.mark.parametrize("kind", ["manifest", "manifest.list"])
def test_docker_types(registry: RegistryProcess, config: dict[str, Any], kind: str) -> None:
    media_type = f"application/vnd.docker.distribution.{kind}.v2+json"
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": []}
    if kind == "manifest.list":
        value = {"schemaVersion": 2, "mediaType": media_type, "manifests": []}
    registry.push_manifest(REPOSITORY, kind, value, media_type)
    assert registry.request("GET", f"/v2/{REPOSITORY}/manifests/{kind}").headers["content-type"] == media_type


def test_sha512(registry: RegistryProcess) -> None:
    """All of an image, and an index of it, by the other algorithm."""
    layer = os.urandom(100)
    for data in (CONFIG, layer):
        digest = digest_of(data, "sha512")
        assert registry.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", data).status == 201
    value = image(CONFIG, layer)
    value["config"]["digest"] = digest_of(CONFIG, "sha512")
    value["layers"][0]["digest"] = digest_of(layer, "sha512")
    raw = json.dumps(value).encode()
    digest = digest_of(raw, "sha512")
    done = put(registry, digest, raw)
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest)
    assert registry.request("GET", done.headers["location"]).body == raw
    outer = json.dumps(index_of({"mediaType": OCI_MANIFEST, "digest": digest, "size": len(raw)})).encode()
    outer_digest = digest_of(outer, "sha512")
    assert put(registry, f"{outer_digest}?tag=sha512-a&tag=sha512-b", outer, OCI_INDEX).status == 201
    for tag in ("sha512-a", "sha512-b"):
        head = registry.request("HEAD", f"/v2/{REPOSITORY}/manifests/{tag}")
        assert head.headers["docker-content-digest"] == outer_digest


def test_tags_in_the_query(registry: RegistryProcess, config: dict[str, Any]) -> None:
    raw = json.dumps(document(config, annotations=unique())).encode()
    path = f"/v2/{REPOSITORY}/manifests/{digest_of(raw)}?tag=param-a&tag=param-b"
    connection = registry.connect()
    connection.request("PUT", path, raw, {"Content-Type": OCI_MANIFEST})
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.headers.get_all("OCI-Tag")) == (201, ["param-a", "param-b"])
    connection.close()
    bad = put(registry, f"{digest_of(raw)}?tag=param-c&tag=-bad", raw)
    assert (bad.status, bad.code) == (400, "TAG_INVALID")
    assert registry.request("HEAD", f"/v2/{REPOSITORY}/manifests/param-c").status == 404


def test_a_digest_that_is_another_one(registry: RegistryProcess, config: dict[str, Any]) -> None:
    raw = json.dumps(document(config, annotations=unique())).encode()
    refused = put(registry, digest_of(raw), raw + b"  ")
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert registry.request("GET", f"/v2/{REPOSITORY}/manifests/{digest_of(raw)}").code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_digest_that_is_none(registry: RegistryProcess, method: str) -> None:
    for wrong in ("sha256:baddigeststring", "sha256:" + "g" * 64, "md5:" + "0" * 32, "sha256:" + "A" * 64, ":"):
        answer = registry.request(method, f"/v2/{REPOSITORY}/manifests/{wrong}", b"{}" if method == "PUT" else None)
        assert answer.status == 400


def test_what_is_not_there(registry: RegistryProcess) -> None:
    for reference in ("missing", digest_of(b"missing")):
        answer = registry.request("GET", f"/v2/{REPOSITORY}/manifests/{reference}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    assert registry.request("GET", "/v2/conformance/never/tags/list").code == "NAME_UNKNOWN"
    assert registry.request("DELETE", "/v2/conformance/never/manifests/x").status == 404


def test_references_are_there(registry: RegistryProcess, config: dict[str, Any]) -> None:
    lacking = descriptor(b"never pushed", "application/x")
    both = [lacking, descriptor(b"nor was this", "application/x"), lacking]
    for value, media_type in (
        (document(config, layers=[lacking]), OCI_MANIFEST),
        (document(lacking), OCI_MANIFEST),
        (index_of(descriptor(b"never pushed", OCI_MANIFEST)), OCI_INDEX),
        # A blob of the repository is no manifest of it.
        (index_of(descriptor(CONFIG, OCI_MANIFEST)), OCI_INDEX),
    ):
        refused = put(registry, "lacking", json.dumps(value).encode(), media_type)
        assert (refused.status, refused.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert len(refused.json["errors"]) == 1
    refused = put(registry, "lacking", json.dumps(document(config, layers=both)).encode())
    assert {error["code"] for error in refused.json["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}, "one error for each"
    assert {error["detail"]["digest"] for error in refused.json["errors"]} == {one["digest"] for one in both}
    other = registry.request(
        "PUT", "/v2/conformance/elsewhere/manifests/x", json.dumps(document(config)), {"Content-Type": OCI_MANIFEST}
    )
    assert other.code == "MANIFEST_BLOB_UNKNOWN", "what another repository has does not count"


def test_an_index_of_blobs(registry: RegistryProcess) -> None:
    """Builders keep their caches so: what an index lists need not be manifests."""
    layer, cache = os.urandom(100), b'{"layers":[],"records":[]}'
    children = [
        descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip"),
        descriptor(cache, "application/vnd.buildkit.cacheconfig.v0"),
    ]
    raw = json.dumps(index_of(*children)).encode()
    assert put(registry, "cache", raw, OCI_INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    for data in (layer, cache):
        registry.push_blob(REPOSITORY, data)
    assert put(registry, "cache", raw, OCI_INDEX).status == 201
    assert registry.request("GET", f"/v2/{REPOSITORY}/manifests/cache").body == raw


def test_what_is_deleted_twice_or_was_never_there(registry: RegistryProcess) -> None:
    for name in (REPOSITORY, "conformance/never"):
        for kind, reference, code in (
            ("manifests", "no-such-tag", "MANIFEST_UNKNOWN"),
            ("manifests", digest_of(b"never"), "MANIFEST_UNKNOWN"),
            ("blobs", digest_of(b"never"), "BLOB_UNKNOWN"),
        ):
            refused = registry.request("DELETE", f"/v2/{name}/{kind}/{reference}")
            assert (refused.status, refused.code) == (404, code)


def test_deletes_may_be_switched_off(tmp_path: Path) -> None:
    """Then they are answered as the specification says, whatever is there; uploads are cancelled all the same."""
    with registry_process(tmp_path, "--set", "deletes=false") as registry:
        digest = registry.push_image(REPOSITORY, "kept", b"layer")
        for name in (REPOSITORY, "conformance/never"):
            for rest in ("manifests/kept", f"manifests/{digest}", f"blobs/{digest_of(b'layer')}"):
                refused = registry.request("DELETE", f"/v2/{name}/{rest}")
                assert (refused.status, refused.code) == (405, "UNSUPPORTED")
                assert refused.headers["allow"] == ("GET, HEAD, PUT" if "manifests" in rest else "GET, HEAD")
        assert registry.request("GET", f"/v2/{REPOSITORY}/manifests/kept").headers["docker-content-digest"] == digest
        assert registry.request("HEAD", f"/v2/{REPOSITORY}/blobs/{digest_of(b'layer')}").status == 200
        location = registry.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["location"]
        assert registry.request("DELETE", location).status == 204


def test_sparse_manifests_where_they_are_accepted(tmp_path: Path) -> None:
    with registry_process(tmp_path, "--set", "accept_missing=true") as registry:
        registry.push_blob(REPOSITORY, CONFIG)
        value = document(descriptor(CONFIG, CONFIG_TYPE), layers=[descriptor(b"never pushed", "application/x")])
        raw = json.dumps(value).encode()
        done = put(registry, "sparse", raw)
        assert done.status == 201
        assert done.headers["warning"].startswith('299 - "')
        assert registry.request("GET", f"/v2/{REPOSITORY}/manifests/sparse").body == raw


def test_referrers(registry: RegistryProcess, config: dict[str, Any]) -> None:
    missing = digest_of(b"missing content")
    nobody = registry.request("GET", f"/v2/conformance/never/referrers/{missing}")
    assert (nobody.status, nobody.headers["content-type"]) == (200, OCI_INDEX)
    assert nobody.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    subject = described(registry, registry.push_manifest(REPOSITORY, "", document(config, annotations=unique())))
    expected = []
    for value, media_type in (
        (document(config, subject=subject), OCI_MANIFEST),
        (document(config, subject=subject, artifactType=EXAMPLE, annotations=unique()), OCI_MANIFEST),
        (document(config, subject=subject, artifactType=EXAMPLE + ".other"), OCI_MANIFEST),
        (index_of(subject=subject, artifactType=EXAMPLE, annotations=unique()), OCI_INDEX),
        (index_of(subject=subject), OCI_INDEX),
    ):
        raw = json.dumps(value).encode()
        done = put(registry, digest_of(raw), raw, media_type)
        assert (done.status, done.headers["oci-subject"]) == (201, subject["digest"])
        item = {"mediaType": media_type, "digest": digest_of(raw), "size": len(raw)}
        kind = value.get("artifactType") or value.get("config", {}).get("mediaType")
        item |= {"artifactType": kind} if kind else {}
        expected.append(item | ({"annotations": value["annotations"]} if "annotations" in value else {}))
    found = registry.request("GET", f"/v2/{REPOSITORY}/referrers/{subject['digest']}")
    assert found.headers["content-type"] == OCI_INDEX
    assert "oci-filters-applied" not in found.headers
    assert sorted(found.json["manifests"], key=str) == sorted(expected, key=str)
    filtered = registry.request("GET", f"/v2/{REPOSITORY}/referrers/{subject['digest']}?artifactType={EXAMPLE}")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert [item["artifactType"] for item in filtered.json["manifests"]] == [EXAMPLE, EXAMPLE]
    registry.request("DELETE", f"/v2/{REPOSITORY}/manifests/{expected[0]['digest']}")
    left = registry.request("GET", f"/v2/{REPOSITORY}/referrers/{subject['digest']}").json["manifests"]
    assert expected[0]["digest"] not in {item["digest"] for item in left}
    late = document(config, subject={"mediaType": OCI_MANIFEST, "digest": missing, "size": 15})
    registry.push_manifest(REPOSITORY, "", late)
    assert len(registry.request("GET", f"/v2/{REPOSITORY}/referrers/{missing}").json["manifests"]) == 1


def test_pages_of_referrers(registry: RegistryProcess, config: dict[str, Any]) -> None:
    """An answer is about as large as a manifest may be, however large the annotations are."""
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(os.urandom(8)), "size": 7}
    pushed = {
        registry.push_manifest(
            REPOSITORY, "", document(config, subject=subject, annotations={**unique(), "large": "A" * 1_500_000})
        )
        for _ in range(5)
    }
    path = f"/v2/{REPOSITORY}/referrers/{subject['digest']}?artifactType={quote(config['mediaType'])}"
    found, pages = [], 0
    while path:
        page = registry.request("GET", path)
        assert len(page.body) < 5 << 20
        found += [item["digest"] for item in page.json["manifests"]]
        link = page.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        path = link[1:].partition(">")[0]
        pages += 1
    assert (set(found), len(found), pages) == (pushed, 5, 3)


def test_conditions(registry: RegistryProcess, config: dict[str, Any]) -> None:
    registry.push_manifest(REPOSITORY, "conditions", document(config, annotations=unique()))
    path = f"/v2/{REPOSITORY}/manifests/conditions"
    tag = registry.request("GET", path).headers["etag"]
    assert registry.request("GET", path, headers={"If-None-Match": tag}).status == 304
    registry.push_manifest(REPOSITORY, "conditions", document(config, annotations=unique()))
    assert registry.request("GET", path, headers={"If-None-Match": tag}).status == 200
