"""Other clients push to `cais registry serve` and pull from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from registry_process import OCI_INDEX, RegistryProcess


@pytest.mark.peer
def test_skopeo_copies_there_and_back(registry: RegistryProcess, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("needs skopeo (package skopeo)")
    digest = registry.push_image("clients/skopeo", "1", b"not a tar, but a blob" * 1000)
    source, target = f"docker://{registry.address}/clients/skopeo:1", f"docker://{registry.address}/clients/copy:1"
    layout = f"dir:{tmp_path}/image"
    subprocess.run([skopeo, "copy", "-q", "--src-tls-verify=false", source, layout], check=True)
    subprocess.run([skopeo, "copy", "-q", "--dest-tls-verify=false", layout, target], check=True)
    assert registry.request("HEAD", "/v2/clients/copy/manifests/1").headers["docker-content-digest"] == digest


@pytest.mark.peer
def test_skopeo_copies_all_platforms_lists_and_deletes(registry: RegistryProcess) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("needs skopeo (package skopeo)")
    children = []
    for architecture in ("amd64", "arm64"):
        digest = registry.push_image("clients/platforms", "", architecture.encode())
        size = int(registry.request("HEAD", f"/v2/clients/platforms/manifests/{digest}").headers["content-length"])
        platform = {"os": "linux", "architecture": architecture}
        media_type = "application/vnd.oci.image.manifest.v1+json"
        children.append({"mediaType": media_type, "digest": digest, "size": size, "platform": platform})
    index = registry.push_manifest(
        "clients/platforms", "1", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}, OCI_INDEX
    )
    target = f"docker://{registry.address}/clients/mounted"
    options = ["-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    source = f"docker://{registry.address}/clients/platforms:1"
    subprocess.run([skopeo, "copy", *options, source, f"{target}:1"], check=True)
    assert registry.request("HEAD", "/v2/clients/mounted/manifests/1").headers["docker-content-digest"] == index
    listed = subprocess.run([skopeo, "list-tags", "--tls-verify=false", target], check=True, stdout=subprocess.PIPE)
    assert b'"1"' in listed.stdout
    subprocess.run([skopeo, "delete", "--tls-verify=false", f"{target}:1"], check=True)
    assert registry.request("HEAD", "/v2/clients/mounted/manifests/1").status == 404
