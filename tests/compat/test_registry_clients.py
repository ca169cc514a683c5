"""Other clients push to `cais registry serve` and pull from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from peer_tools import need, run
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


@pytest.mark.peer
def test_oras_attaches_discovers_and_copies_with_referrers(registry: RegistryProcess, tmp_path: Path) -> None:
    need("oras")  # a package from Debian 13 on
    (tmp_path / "file.txt").write_text("hello")
    (tmp_path / "sbom.json").write_text("{}")

    def oras(command: str, *arguments: str) -> str:
        return run("oras", *command.split(), "--plain-http", *arguments, cwd=tmp_path)

    image, copied = f"{registry.address}/clients/oras:1", f"{registry.address}/clients/oras-copy:1"
    oras("push", image, "--artifact-type", "application/vnd.example", "file.txt:text/plain")
    oras("attach", image, "--artifact-type", "sbom/example", "sbom.json")
    oras("attach", image, "--artifact-type", "signature/example", "sbom.json")
    found = json.loads(oras("discover", "--format", "json", "--artifact-type", "sbom/example", image))
    assert [one["artifactType"] for one in found["manifests"]] == ["sbom/example"]
    run("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", image, copied)
    assert len(json.loads(oras("discover", "--format", "json", copied))["manifests"]) == 2
    oras("tag", copied, "b", "a")
    assert oras("repo tags", copied.rpartition(":")[0]).split() == ["1", "a", "b"]
    oras("pull", "-o", "out", copied)
    assert (tmp_path / "out/file.txt").read_text() == "hello"


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["legacy", "oci-1-1"])
def test_cosign_signs_and_verifies(registry: RegistryProcess, tmp_path: Path, kind: str) -> None:
    """With a tag made of the digest, and as a referrer."""
    need("cosign")  # a package from Debian 13 on
    image = f"{registry.address}/clients/cosign-{kind}:1"
    registry.push_image(f"clients/cosign-{kind}", "1", b"signed")
    variables = {**os.environ, "COSIGN_PASSWORD": "x", "COSIGN_EXPERIMENTAL": "1", "HOME": str(tmp_path)}

    def cosign(*arguments: str) -> None:
        run("cosign", *arguments, cwd=tmp_path, env=variables)

    cosign("generate-key-pair")
    how = ["--allow-http-registry", f"--registry-referrers-mode={kind}"]
    cosign("sign", "--yes", "--key=cosign.key", "--tlog-upload=false", *how, image)
    if kind == "legacy":
        cosign("verify", "--key=cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry", image)
    else:
        digest = registry.request("HEAD", "/v2/clients/cosign-oci-1-1/manifests/1").headers["docker-content-digest"]
        (signature,) = registry.request("GET", f"/v2/clients/cosign-oci-1-1/referrers/{digest}").json["manifests"]
        assert signature["artifactType"] == "application/vnd.dev.cosign.artifact.sig.v1+json"


@pytest.mark.peer
@pytest.mark.root
def test_buildah_pushes_what_it_has_made_and_pulls_it(registry: RegistryProcess, tmp_path: Path) -> None:
    need("buildah")
    with tempfile.TemporaryDirectory(prefix="cais-buildah-", dir="/var/tmp") as place:  # no long path, and no tmpfs
        storage = ("--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver", "vfs")
        name, copy = f"{registry.address}/clients/buildah:1", f"{registry.address}/clients/again:1"
        (tmp_path / "hello").write_text("hello")
        working = run("buildah", *storage, "from", "scratch").strip()
        run("buildah", *storage, "copy", working, tmp_path / "hello", "/hello")
        run("buildah", *storage, "commit", "-q", working, name)
        run("buildah", *storage, "push", "-q", "--tls-verify=false", name)
        run("buildah", *storage, "rm", "-a")
        run("buildah", *storage, "rmi", "-a", "-f")
        run("buildah", *storage, "pull", "-q", "--tls-verify=false", name)
        run("buildah", *storage, "push", "-q", "--tls-verify=false", name, f"docker://{copy}")
        made = registry.request("GET", "/v2/clients/buildah/manifests/1")
        assert registry.request("GET", "/v2/clients/again/manifests/1").json["layers"] == made.json["layers"]


@pytest.mark.peer
def test_umoci_changes_what_skopeo_carries(registry: RegistryProcess, tmp_path: Path) -> None:
    """It knows directories alone: there and back by skopeo."""
    need("skopeo", "umoci")
    layout, bundle, name = tmp_path / "layout", tmp_path / "bundle", f"docker://{registry.address}/clients/umoci"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:1")
    run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:1", f"{name}:1")
    run("skopeo", "copy", "-q", "--src-tls-verify=false", f"{name}:1", f"oci:{layout}:pulled")
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:pulled", bundle)
    (bundle / "rootfs" / "hello").write_text("hello")
    run("umoci", "repack", "--image", f"{layout}:2", bundle)
    run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:2", f"{name}:2")
    first, second = (registry.request("GET", f"/v2/clients/umoci/manifests/{tag}").json for tag in "12")
    assert (len(first["layers"]), len(second["layers"])) == (0, 1)
