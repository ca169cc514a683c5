"""The specification's workflows, from outside, in one pass."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from registry_process import OCI_INDEX, RegistryProcess, descriptor, digest_of


def test_push_in_chunks_and_pull(registry: RegistryProcess) -> None:
    data = bytes(range(256)) * 1000
    began = registry.request("POST", "/v2/first/chunks/blobs/uploads/")
    location = began.headers["location"]
    for start in range(0, len(data), 100_000):
        piece = data[start : start + 100_000]
        headers = {"Content-Range": f"{start}-{start + len(piece) - 1}"}
        answer = registry.request("PATCH", location, piece, headers)
        assert (answer.status, answer.headers["range"]) == (202, f"0-{start + len(piece) - 1}")
        location = answer.headers["location"]
    late = registry.request("PATCH", location, b"x", {"Content-Range": "3-3"})
    assert late.status == 416
    assert registry.request("GET", location).headers["range"] == f"0-{len(data) - 1}"
    digest = digest_of(data)
    done = registry.request("PUT", f"{location}?digest={digest}")
    assert done.status == 201
    assert registry.request("GET", done.headers["location"]).body == data
    part = registry.request("GET", done.headers["location"], headers={"Range": "bytes=1000-199999"})
    assert (part.status, part.body) == (206, data[1000:200_000])
    mounted = registry.request("POST", f"/v2/first/mounted/blobs/uploads/?mount={digest}&from=first/chunks")
    assert mounted.status == 201
    assert registry.request("HEAD", mounted.headers["location"]).headers["content-length"] == str(len(data))


def test_manifests_tags_and_referrers(registry: RegistryProcess) -> None:
    digest = registry.push_image("first/image", "b", b"layer one")
    registry.push_image("first/image", "a", b"layer two")
    assert registry.request("GET", "/v2/first/image/tags/list").json == {"name": "first/image", "tags": ["a", "b"]}
    got = registry.request("GET", "/v2/first/image/manifests/b")
    assert digest_of(got.body) == got.headers["docker-content-digest"] == digest
    about = {"mediaType": got.headers["content-type"], "digest": digest, "size": len(got.body)}
    referrer = registry.push_image("first/image", "", b"about", subject=about, artifactType="example/sbom")
    found = registry.request("GET", f"/v2/first/image/referrers/{digest}?artifactType=example/sbom")
    assert found.headers["content-type"] == OCI_INDEX
    assert [item["digest"] for item in found.json["manifests"]] == [referrer]
    assert registry.request("DELETE", f"/v2/first/image/manifests/{digest}").status == 202
    assert registry.request("GET", "/v2/first/image/manifests/b").status == 404
    assert registry.request("DELETE", "/v2/first/image/manifests/a").status == 202
    assert registry.request("GET", "/v2/first/image/tags/list").json["tags"] == []


def test_a_manifest_of_what_is_not_there(registry: RegistryProcess) -> None:
    config = registry.push_blob("first/missing", b"{}")
    document = {
        "schemaVersion": 2,
        "config": {"mediaType": "application/x", "digest": config, "size": 2},
        "layers": [descriptor(b"never pushed", "application/x")],
    }
    with pytest.raises(AssertionError, match="MANIFEST_BLOB_UNKNOWN"):
        registry.push_manifest("first/missing", "x", document)


@pytest.mark.peer
def test_skopeo_copies_there_and_back(registry: RegistryProcess, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("needs skopeo (package skopeo)")
    digest = registry.push_image("first/skopeo", "1", b"not a tar, but a blob" * 1000)
    source, target = f"docker://{registry.address}/first/skopeo:1", f"docker://{registry.address}/first/copy:1"
    layout = f"dir:{tmp_path}/image"
    subprocess.run([skopeo, "copy", "-q", "--src-tls-verify=false", source, layout], check=True)
    subprocess.run([skopeo, "copy", "-q", "--dest-tls-verify=false", layout, target], check=True)
    assert registry.request("HEAD", "/v2/first/copy/manifests/1").headers["docker-content-digest"] == digest
