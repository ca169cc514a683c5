"""Clients of others sign in to a registry of ours, push, pull, and are refused as they understand it."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

import nginx_server
import private_server
from certificates import Authority
from registry_people import PASSWORD, administration
from registry_process import OCI_MANIFEST, RegistryProcess, digest_of, registry_process

pytestmark = pytest.mark.peer


class Done(NamedTuple):
    code: int
    text: str


Tool = Callable[..., Done]


def need(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"needs {program}")


def run(*words: object, stdin: str = "", env: dict[str, str] | None = None) -> Done:
    done = subprocess.run(
        [*map(str, words)], input=stdin, env={**os.environ, **(env or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    assert PASSWORD not in done.stdout
    return Done(done.returncode, done.stdout)


def root_files() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"world"))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image in an OCI layout, as skopeo and podman name it."""
    directory = tmp_path_factory.mktemp("layout")
    (directory / "blobs" / "sha256").mkdir(parents=True)

    def keep(data: bytes, media_type: str) -> dict[str, object]:
        digest = digest_of(data)
        (directory / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    files = root_files()
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(files)]},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": keep(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [keep(gzip.compress(files, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    top = keep(json.dumps(manifest).encode(), OCI_MANIFEST)
    top["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{directory}:1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ca")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """alice, who may do everything below alice/, and read team/."""
    path = tmp_path_factory.mktemp("registry")
    with administration(path) as records:
        records.accounts.add("alice", PASSWORD)
        records.grants.put("alice", "team/*", ["pull"])
    return path


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[RegistryProcess]:
    with registry_process(root, "--workers", "2", anonymous="read") as process:
        yield process


@pytest.fixture(scope="module")
def encrypted(root: Path, authority: Authority) -> Iterator[RegistryProcess]:
    """The same registry, with TLS."""
    pair = authority.pair("server")
    words = ("--set", f"tls.certificate={pair.certificate}", "--set", f"tls.key={pair.key}")
    with registry_process(root, "--workers", "1", *words, anonymous="read") as process:
        yield process


@pytest.fixture(scope="module")
def proxied(server: RegistryProcess, authority: Authority) -> Iterator[str]:
    """The address of an nginx that ends TLS before the registry, which hears plain http."""
    if lacking := nginx_server.lacking():
        pytest.skip(lacking)
    (port,) = private_server.free_ports(1)
    pair = authority.pair("proxy")
    site = f"""server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pair.certificate};
        ssl_certificate_key {pair.key};
        client_max_body_size 0;
        location / {{
            proxy_pass http://{server.address};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}"""
    with nginx_server.serving(site, port):
        yield f"127.0.0.1:{port}"


@pytest.fixture
def podman() -> Iterator[Tool]:
    need("podman")
    # podman refuses a runroot of more than 50 characters.
    directory = Path(tempfile.mkdtemp(prefix="cais-podman-", dir="/var/tmp"))
    (directory / "auth.json").write_text("{}")
    storage = ("--root", directory / "root", "--runroot", directory / "run", "--storage-driver", "vfs")
    yield lambda *words, **named: run(
        "podman", *storage, *words, **named, env={"REGISTRY_AUTH_FILE": str(directory / "auth.json")}
    )
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    """A Docker daemon of our own, without networks."""
    need("docker", "dockerd", "containerd")
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    directory = tmp_path_factory.mktemp("docker")
    socket = f"unix://{directory}/sock"
    with open(directory / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", directory / "root", "--exec-root", directory / "exec", "-p", directory / "pid",
             "-H", socket, "--iptables=false", "--bridge=none", "-s", "vfs"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(["docker", "-H", socket, "version"], capture_output=True).returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.skip("dockerd does not start here: " + (directory / "log").read_text()[-500:])
        yield lambda *words, **named: run(
            "docker", "-H", socket, *words, **named, env={"DOCKER_CONFIG": str(directory / "config")}
        )
    finally:
        daemon.terminate()
        daemon.wait(30)


def authorities(authority: Authority, directory: Path) -> Path:
    """A directory with its certificate alone, as ``--cert-dir`` wants it."""
    (directory / "certs").mkdir()
    return Path(shutil.copy(authority.certificate, directory / "certs" / "ca.crt")).parent


def test_skopeo(tmp_path: Path, encrypted: RegistryProcess, authority: Authority, layout: str) -> None:
    need("skopeo")
    certs = authorities(authority, tmp_path)
    env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    name = f"docker://{encrypted.address}/alice/skopeo:1"

    def skopeo(command: str, *words: object, stdin: str = "") -> Done:
        return run("skopeo", command, *words, stdin=stdin, env=env)

    login = ("--cert-dir", certs, "-u", "alice", "--password-stdin", encrypted.address)
    assert "invalid username/password" in skopeo("login", *login, stdin="wrong").text
    assert skopeo("copy", "--dest-cert-dir", certs, layout, name).code != 0
    assert skopeo("login", *login, stdin=PASSWORD).code == 0
    assert skopeo("copy", "--dest-cert-dir", certs, layout, name).code == 0
    assert json.loads(skopeo("list-tags", "--cert-dir", certs, name.rpartition(":")[0]).text)["Tags"] == ["1"]
    assert skopeo("copy", "--src-cert-dir", certs, name, f"oci:{tmp_path}/pulled:1").code == 0
    refused = skopeo("copy", "--dest-cert-dir", certs, layout, f"docker://{encrypted.address}/team/app:1")
    assert "denied" in refused.text
    refused = skopeo("inspect", "--no-creds", "--cert-dir", certs, name)
    assert "denied" in refused.text or "unauthorized" in refused.text
    assert skopeo("delete", "--cert-dir", certs, name).code == 0
    assert "manifest unknown" in skopeo("inspect", "--cert-dir", certs, name).text


def test_skopeo_by_a_proxy(tmp_path: Path, proxied: str, authority: Authority, layout: str) -> None:
    """What leads on in an answer (uploads, pages, tokens) leads by the proxy again, and never to plain http."""
    need("skopeo")
    certs = authorities(authority, tmp_path)
    env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    name = f"docker://{proxied}/alice/proxied:1"
    login = ("login", "--cert-dir", certs, "-u", "alice", "--password-stdin", proxied)
    assert run("skopeo", *login, stdin=PASSWORD, env=env).code == 0
    for source, target, side in ((layout, name, "dest"), (name, f"oci:{tmp_path}/pulled:1", "src")):
        done = run("skopeo", "copy", f"--{side}-cert-dir", certs, source, target, env=env)
        assert done.code == 0, done.text


def test_podman_by_a_proxy(tmp_path: Path, podman: Tool, proxied: str, authority: Authority, layout: str) -> None:
    name, trusted = f"{proxied}/alice/podman-proxied:1", f"--cert-dir={authorities(authority, tmp_path)}"
    found = re.search(r"\b[0-9a-f]{64}\b", podman("pull", "-q", layout).text)
    assert found is not None
    assert podman("login", trusted, "-u", "alice", "--password-stdin", proxied, stdin=PASSWORD).code == 0
    pushed = podman("push", "-q", trusted, found.group(), name)
    assert pushed.code == 0, pushed.text
    assert podman("rmi", "-f", found.group()).code == 0
    pulled = podman("pull", "-q", trusted, name)
    assert pulled.code == 0, pulled.text


def test_docker_by_a_proxy(tmp_path: Path, docker: Tool, proxied: str) -> None:
    """It trusts any certificate on the loopback."""
    name = f"{proxied}/alice/docker-proxied:1"
    (tmp_path / "files.tar").write_bytes(root_files())
    assert docker("import", tmp_path / "files.tar", name).code == 0
    login = docker("login", "-u", "alice", "--password-stdin", proxied, stdin=PASSWORD)
    assert login.code == 0, login.text
    pushed = docker("push", name)
    assert pushed.code == 0 and "digest: sha256:" in pushed.text, pushed.text
    docker("rmi", name)
    pulled = docker("pull", name)
    assert pulled.code == 0 and "Downloaded newer image" in pulled.text, pulled.text
    assert docker("logout", proxied).code == 0


def test_podman(tmp_path: Path, podman: Tool, server: RegistryProcess, layout: str) -> None:
    name, plain = f"{server.address}/alice/podman:1", "--tls-verify=false"
    pulled = podman("pull", "-q", layout)
    found = re.search(r"\b[0-9a-f]{64}\b", pulled.text)
    assert found is not None, pulled
    image = found.group()
    assert "invalid username/password" in podman("login", plain, "-u", "alice", "-p", "wrong", server.address).text
    assert podman("login", plain, "-u", "alice", "--password-stdin", server.address, stdin=PASSWORD).code == 0
    pushed = podman("push", "-q", plain, image, name)
    assert pushed.code == 0, pushed.text
    assert podman("rmi", "-f", image).code == 0
    assert podman("pull", "-q", plain, name).code == 0
    refused = podman("push", "-q", plain, name, f"{server.address}/team/podman:1")
    assert refused.code != 0 and "denied" in refused.text
    assert podman("logout", server.address).code == 0
    podman("rmi", "-f", name)
    refused = podman("pull", "-q", plain, name)
    assert refused.code != 0 and ("denied" in refused.text or "unauthorized" in refused.text)


def test_docker(tmp_path: Path, docker: Tool, server: RegistryProcess, root: Path) -> None:
    name, team = f"{server.address}/alice/docker:1", f"{server.address}/team/docker:1"
    (tmp_path / "files.tar").write_bytes(root_files())
    assert docker("import", tmp_path / "files.tar", name).code == 0
    refused = docker("push", name)
    assert refused.code != 0 and ("unauthorized" in refused.text or "denied" in refused.text)
    wrong = docker("login", "-u", "alice", "--password-stdin", server.address, stdin="wrong password")
    assert wrong.code != 0 and "incorrect username or password" in wrong.text
    login = docker("login", "-u", "alice", "--password-stdin", server.address, stdin=PASSWORD)
    assert login.code == 0 and "Login Succeeded" in login.text
    pushed = docker("push", name)
    assert pushed.code == 0 and "digest: sha256:" in pushed.text, pushed.text
    docker("rmi", name)
    pulled = docker("pull", name)
    assert pulled.code == 0 and "Downloaded newer image" in pulled.text, pulled.text
    docker("tag", name, team)
    refused = docker("push", team)
    assert refused.code != 0 and "denied: requested access to the resource is denied" in refused.text
    for missing in (f"{server.address}/alice/none:1", f"{server.address}/other/none:1"):
        refused = docker("pull", missing)
        assert refused.code != 0 and ("not found" in refused.text or "denied" in refused.text), refused.text
    assert "alice/docker" in docker("search", f"{server.address}/docker").text
    # The daemon kept no password: what it has instead ends with the password.
    with administration(root) as records:
        records.accounts.set_password("alice", PASSWORD)
    assert docker("pull", name).code != 0
    assert docker("login", "-u", "alice", "--password-stdin", server.address, stdin=PASSWORD).code == 0
    assert docker("pull", name).code == 0
    assert docker("logout", server.address).code == 0
    refused = docker("pull", name)
    assert refused.code != 0 and "denied" in refused.text, refused.text
    searched = docker("search", f"{server.address}/docker")
    assert searched.code == 0 and "alice/docker" not in searched.text, searched.text
    with administration(root) as records:
        records.publish("alice/docker", True)
    assert "alice/docker" in docker("search", f"{server.address}/docker").text
    assert docker("pull", name).code == 0
