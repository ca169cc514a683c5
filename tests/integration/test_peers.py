"""Images go back and forth between Cais and the other tools: they load, they run, and their digests stay."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.command import Command

pytestmark = [pytest.mark.peer, pytest.mark.root]
Tool = Callable[..., str]
NAME = "example.org/team/app:v1"


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    if os.geteuid() != 0:
        pytest.skip("the peers are run as root")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """On a disk: the peers' overlay storage does not work on every other file system."""
    directory = Path(tempfile.mkdtemp(prefix="cais-peers-", dir="/var/tmp"))
    yield directory
    # The daemon leaves the name of its network namespace mounted.
    for name in directory.glob("*/netns/*"):
        subprocess.run(["umount", "--lazy", name], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def podman(place: Path) -> Tool:
    need("podman", "unshare")
    # What a small machine does not allow: the limits that podman wants, and crun on hybrid cgroups.
    (place / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
    hide = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    storage = ("--root", place / "podman", "--runroot", place / "podman-run", "--cgroup-manager", "cgroupfs")
    base = ("unshare", "-m", "sh", "-c", hide, "sh", "podman", *storage, "--events-backend", "file")
    env = {**os.environ, "CONTAINERS_CONF": str(place / "containers.conf")}
    return lambda *words: run(*base, *words, env=env)


@pytest.fixture(scope="module")
def docker(place: Path) -> Iterator[Tool]:
    """A daemon of the tests' own, without networks."""
    need("docker", "dockerd")
    socket = f"unix://{place}/docker.sock"
    argv = ["dockerd", "--data-root", place / "docker", "--exec-root", place / "docker-run", "-p", place / "docker.pid"]
    argv += ["-H", socket, "--iptables=false", "--ip-forward=false", "--bridge=none"]
    with open(place / "docker.log", "wb") as log:
        daemon = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "-H", socket, "version"], capture_output=True).returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.skip("dockerd does not start here: " + (place / "docker.log").read_text()[-500:])
        yield lambda *words: run("docker", "-H", socket, *words, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    finally:
        daemon.terminate()
        daemon.wait(30)


@pytest.fixture(scope="module")
def ours(cais: Command, place: Path) -> Path:
    """An image built here, saved: two layers of its own on busybox, with an environment, a user and a command."""
    context = place / "ours"
    context.mkdir()
    (context / "say").write_text('#!/bin/sh\necho "$WORD from $(id -u) in $(pwd): $(cat /built)"\n')
    (context / "say").chmod(0o755)
    (context / "Dockerfile").write_text(
        "FROM busybox\nENV WORD=hello\nRUN echo here >/built\nCOPY say /bin/\nWORKDIR /home\nUSER www-data\nCMD say\n"
    )
    cais("build", "-t", NAME, context)
    cais("save", "-o", place / "ours.tar", NAME)
    return place / "ours.tar"


SAID = "hello from 33 in /home: here"


def runs_here(cais: Command, image: str) -> str:
    return cais("run", "--rm", "--network", "none", image).text


def base_for(peer: Tool, cais: Command, place: Path, name: str) -> None:
    """Gives a peer our busybox."""
    path = place / f"busybox-for-{name}.tar"
    cais("save", "-o", path, "busybox")
    peer("load", "-i", path)


def test_ours_runs_in_podman(cais: Command, ours: Path, podman: Tool) -> None:
    podman("load", "-i", ours)
    assert podman("image", "inspect", "--format", "{{.Id}}", NAME) == cais.inspect(NAME)["Id"].removeprefix("sha256:")
    assert podman("run", "--rm", "--network", "none", NAME) == SAID


def test_ours_runs_in_docker(cais: Command, ours: Path, docker: Tool) -> None:
    docker("load", "-i", ours)
    assert docker("image", "inspect", "--format", "{{.Id}}", NAME) == cais.inspect(NAME)["Id"]
    assert docker("run", "--rm", "--network", "none", NAME) == SAID


def test_ours_is_read_by_skopeo_and_umoci(cais: Command, ours: Path, tmp_path: Path) -> None:
    need("skopeo", "umoci")
    run("skopeo", "copy", "-q", f"oci-archive:{ours}:{NAME}", f"oci:{tmp_path}/layout:v1")
    manifest = run("skopeo", "inspect", "--raw", f"oci:{tmp_path}/layout:v1")
    assert json.loads(manifest)["config"]["digest"] == cais.inspect(NAME)["Id"]
    run("umoci", "unpack", "--image", f"{tmp_path}/layout:v1", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/built").read_text() == "here\n"
    assert (tmp_path / "bundle/rootfs/bin/sh").is_symlink()


def test_what_podman_built_runs_here(cais: Command, ours: Path, podman: Tool, place: Path) -> None:
    base_for(podman, cais, place, "podman")
    podman("build", "-q", "--network", "host", "--isolation", "chroot", "-t", "example.org/by:podman", place / "ours")
    id = podman("image", "inspect", "--format", "{{.Id}}", "example.org/by:podman")
    for kind in ("docker-archive", "oci-archive"):
        path = place / f"podman.{kind}"
        podman("save", "-q", "--format", kind, "-o", path, "example.org/by:podman")
        cais("rmi", "-f", "example.org/by:podman", code=None)
        cais("load", "-i", path)
        assert runs_here(cais, "example.org/by:podman") == SAID
        if kind == "oci-archive":  # as a docker-archive, podman writes another configuration
            assert cais.inspect("example.org/by:podman")["Id"] == f"sha256:{id}"


def test_what_docker_built_runs_here(cais: Command, ours: Path, docker: Tool, place: Path) -> None:
    base_for(docker, cais, place, "docker")
    docker("build", "-q", "--network", "host", "-t", "example.org/by:docker", place / "ours")
    docker("save", "-o", place / "by-docker.tar", "example.org/by:docker")
    cais("load", "-i", place / "by-docker.tar")
    assert cais.inspect("example.org/by:docker")["Id"] == docker(
        "image", "inspect", "--format", "{{.Id}}", "example.org/by:docker"
    )
    assert runs_here(cais, "example.org/by:docker") == SAID


def test_what_umoci_made_runs_here(cais: Command, ours: Path, tmp_path: Path) -> None:
    need("skopeo", "umoci")
    layout = tmp_path / "layout"
    run("skopeo", "copy", "-q", f"oci-archive:{ours}:{NAME}", f"oci:{layout}:v1")
    (tmp_path / "built").write_text("by umoci\n")
    run("umoci", "insert", "--image", f"{layout}:v1", "--tag", "v2", tmp_path / "built", "/built")
    run("umoci", "config", "--image", f"{layout}:v2", "--config.env", "WORD=goodbye")
    index = json.loads((layout / "index.json").read_bytes())
    digest = next(
        entry["digest"]
        for entry in index["manifests"]
        if entry["annotations"]["org.opencontainers.image.ref.name"] == "v2"
    )
    config = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())["config"]["digest"]
    cais("load", "-i", layout)
    assert runs_here(cais, config) == "goodbye from 33 in /home: by umoci"


def test_a_copy_by_skopeo_keeps_its_digest(cais: Command, ours: Path, tmp_path: Path) -> None:
    need("skopeo")
    copied = "example.org/by:skopeo"
    run("skopeo", "copy", "-q", f"docker-archive:{ours}:{NAME}", f"oci-archive:{tmp_path}/copy.tar:{copied}")
    manifest = run("skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/copy.tar:{copied}")
    cais("load", "-i", tmp_path / "copy.tar")
    image = cais.inspect(copied)
    assert runs_here(cais, copied) == SAID
    cais("save", "-o", tmp_path / "again.tar", copied)
    assert run("skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/again.tar:{copied}") == manifest
    assert image["Id"] == json.loads(manifest)["config"]["digest"]
    digests = cais("image", "ls", "--digests", "--format", "{{.Digest}}", "example.org/by").text.split()
    assert "sha256:" + hashlib.sha256(manifest.encode()).hexdigest() in digests
