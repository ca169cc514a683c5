"""What Debian's docker-registry has stored is taken over: pushed to it by skopeo, pulled from ours by skopeo."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from registry_process import SOURCE, registry_process
from registry_servers import docker_registry

pytestmark = pytest.mark.peer

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def blob(layout: Path, data: bytes) -> str:
    found = hashlib.sha256(data).hexdigest()
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs" / "sha256" / found).write_bytes(data)
    return f"sha256:{found}"


def descriptor(layout: Path, media_type: str, data: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob(layout, data), "size": len(data), **more}


def make_layout(layout: Path) -> None:
    """An image for two platforms, and one image, as an OCI layout with the tags ``both`` and ``one``."""
    manifests = []
    for architecture in ("amd64", "arm64"):
        config = CONFIG.replace(b"amd64", architecture.encode())
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(layout, "application/vnd.oci.image.config.v1+json", config),
            "layers": [
                descriptor(layout, "application/vnd.oci.image.layer.v1.tar", os.urandom(3 << 20)),
                descriptor(layout, "application/vnd.oci.image.layer.v1.tar", b"shared" * 1000),
            ],
        }
        platform = {"os": "linux", "architecture": architecture}
        manifests.append(descriptor(layout, OCI_MANIFEST, json.dumps(document).encode(), platform=platform))
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    named = "org.opencontainers.image.ref.name"
    top = [
        {**descriptor(layout, OCI_INDEX, index), "annotations": {named: "both"}},
        {**manifests[0], "annotations": {named: "one"}},
    ]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": top}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def skopeo(*words: str) -> str:
    if words[0] == "copy":
        words = ("copy", "--preserve-digests", *words[1:])
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cais", "registry", "import", "--root", str(root), *words]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True)


def test_all_of_it_can_be_pulled_from_ours(tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo (package skopeo)")
    layout, root = tmp_path / "layout", tmp_path / "root"
    make_layout(layout)
    with docker_registry(tmp_path / "old") as old:
        for target, tag in (("library/app:1", "both"), ("library/app:one", "one"), ("team/deep/er/app:1", "one")):
            skopeo(
                "copy", "--all", "--dest-tls-verify=false", f"oci:{layout}:{tag}", f"docker://{old.address}/{target}"
            )
        digest = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{old.address}/library/app:1").encode()
        storage = old.directory / "data"
        first = imported(root, str(storage))  # while it serves
        assert first.returncode == 0, first.stderr
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:one", f"docker://{old.address}/library/late:1")
    second = imported(root, "--link", str(storage))
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[-1].endswith("0 new blobs (0B)")
    linked = tmp_path / "linked"
    assert imported(linked, "--link", str(storage)).returncode == 0
    assert {path.stat().st_nlink for path in linked.glob("blobs/*/*/*")} == {2}
    with registry_process(root) as server:
        for reference in (
            "library/app:1",
            f"library/app@sha256:{hashlib.sha256(digest).hexdigest()}",
            "library/late:1",
        ):
            copied = tmp_path / reference.replace("/", "-").replace(":", "-")
            skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{server.address}/{reference}", f"dir:{copied}")
            for path in copied.glob("[0-9a-f]*"):
                assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.partition(".")[0]
        assert skopeo(
            "inspect", "--raw", "--tls-verify=false", f"docker://{server.address}/team/deep/er/app:1"
        ) == skopeo("inspect", "--raw", f"oci:{layout}:one")
        assert server.request("GET", "/v2/library/app/tags/list").json["tags"] == ["1", "one"]


def test_what_is_damaged_is_left_out_and_said(tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo (package skopeo)")
    layout, root = tmp_path / "layout", tmp_path / "root"
    make_layout(layout)
    with docker_registry(tmp_path / "old") as old:
        skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{layout}:both", f"docker://{old.address}/app:1")
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:one", f"docker://{old.address}/app:one")
        storage = old.directory / "data"
    index = json.loads((layout / "index.json").read_text())["manifests"]
    arm = json.loads((layout / "blobs" / index[0]["digest"].replace(":", "/")).read_text())["manifests"][1]["digest"]
    layer = json.loads((layout / "blobs" / arm.replace(":", "/")).read_text())["layers"][0]["digest"]
    hexadecimal = layer.partition(":")[2]
    damaged = storage / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
    damaged.write_bytes(b"damaged")
    odd = storage / "docker/registry/v2/repositories/app/_manifests/tags/-odd/current"
    odd.mkdir(parents=True)
    (odd / "link").write_text(index[1]["digest"])
    done = imported(root, str(storage))
    assert done.returncode == 1
    for what in (layer, arm, index[0]["digest"], "app:1", "-odd"):
        assert what in done.stderr, done.stderr
    with registry_process(root) as server:
        assert server.request("GET", "/v2/app/tags/list").json["tags"] == ["one"]
        assert server.request("HEAD", f"/v2/app/blobs/{layer}").status == 404


def test_what_is_no_storage_is_refused(tmp_path: Path) -> None:
    done = imported(tmp_path / "root", str(tmp_path))
    assert done.returncode == 1 and "holds no storage of a docker-registry" in done.stderr
