"""Who builds the cases: Cais, Docker's BuildKit, Podman; each as commands with an environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corpus.base import BASE_CHANGES, base_archive
from corpus.case import Case
from corpus.image import observe

WORKERS = 4
ONBUILD_CHANGES = ("ONBUILD COPY a.txt /triggered/", "ONBUILD RUN cat /triggered/a.txt > /twice", "ONBUILD ENV SET=yes")


class Built:
    """How a build ended: ``image`` is what ``observe`` tells of it, None where it failed."""

    def __init__(self, said: str, image: dict[str, Any] | None) -> None:
        self.said = said
        self.image = image


class Builder:
    """``command`` is docker's client or one like it. ``directory`` takes contexts and archives."""

    build_flags: tuple[str, ...] = ("--network=host",)
    save_flags: tuple[str, ...] = ()

    def __init__(self, directory: Path, command: list[str], env: dict[str, str]) -> None:
        directory.mkdir()
        self.directory = directory
        self.command = command
        self.env = {**os.environ, **env}
        self.pool = ThreadPoolExecutor(WORKERS)
        self.futures: dict[str, Future[Built]] = {}

    def __call__(self, *words: str, input: bytes | None = None, env: dict[str, str] | None = None) -> str:
        done = self.run(*words, input=input, env=env)
        assert done.returncode == 0, f"{words}: {done.stderr.decode()}"
        return done.stdout.decode()

    def run(
        self, *words: str, input: bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.command, *words], input=input, env={**self.env, **(env or {})}, capture_output=True, timeout=120,
            cwd=self.directory,
        )  # fmt: skip

    def make_bases(self) -> None:
        archive = base_archive()
        for name, changes in (("base", BASE_CHANGES), ("base-onbuild", (*BASE_CHANGES, *ONBUILD_CHANGES))):
            flags = [word for change in changes for word in ("--change", change)]
            self("import", *flags, "-", name, input=archive)
        self.base_files: dict[str, Any] = {}
        self.base_files = self.observe("base", on_base=False)["files"]

    def start(self, chosen: Iterable[Case]) -> None:
        """Builds several at once, as builds are on a busy machine; ``build`` waits for one."""
        for case in chosen:
            self.futures[case.name] = self.pool.submit(self._build, case)

    def build(self, case: Case) -> Built:
        return self.futures[case.name].result()

    def _build(self, case: Case) -> Built:
        name = case.name.replace("/", "-")
        context = case.lay_out(self.directory / name)
        flags = [*self.build_flags, *case.flags(context.parent)]
        where, data = case.given(context)
        done = self.run("build", "-q", "-t", name, *flags, where, input=data, env=dict(case.env))
        said = done.stderr.decode(errors="replace")
        return Built(said, self.observe(name) if done.returncode == 0 else None)

    def check(self, case: Case) -> str:
        """What the build checks find, as a case says it."""
        context = case.lay_out(self.directory / (case.name.replace("/", "-") + "-checked"))
        done = self.run(
            "build", "--call=check,format=json", *case.flags(context.parent), str(context), env=dict(case.env)
        )
        found = json.loads(done.stdout)["warnings"] or []
        assert bool(done.returncode) == bool(found), done.stderr.decode()
        lines = sorted((entry["location"]["ranges"][0]["start"]["line"], entry["ruleName"]) for entry in found)
        return " ".join(f"{rule}:{line}" for line, rule in lines) or "nothing"

    def observe(self, name: str, on_base: bool = True) -> dict[str, Any]:
        archive = self.directory / f"{name}.tar"
        self("save", *self.save_flags, "-o", str(archive), name)
        seen = observe(archive, self.base_files if on_base else {})
        archive.unlink()
        return seen

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def cais(directory: Path) -> Builder:
    if os.geteuid() != 0 or not os.path.exists("/bin/busybox") or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root, busybox-static and an OCI runtime")
    path = os.pathsep.join(map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))))
    env = {"CAIS_ROOT": str(directory / "root"), "LC_ALL": "C.UTF-8", "PYTHONPATH": path}
    return Builder(directory / "cais", [sys.executable, "-m", "cais"], env)


@contextmanager
def docker(directory: Path) -> Iterator[tuple[Builder, int]]:
    """With the daemon's version: a private one, or what ``CAIS_TEST_DOCKER_HOST`` or ``CAIS_TEST_DOCKER`` names."""
    given = shlex.split(os.environ.get("CAIS_TEST_DOCKER", ""))
    client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else shutil.which("docker")
    command = given or ([client] if client else [])
    host = os.environ.get("CAIS_TEST_DOCKER_HOST", "")
    if not command or not (given or host or shutil.which("dockerd")) or os.geteuid() != 0:
        pytest.skip("needs docker and dockerd (package docker.io)")
    daemon = None
    if not host and not given:
        daemon, host = _daemon(directory / "daemon", command[0])
    env = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    if host:
        env.update(DOCKER_HOST=host, DOCKER_CONFIG=str(directory / "docker-config"))
    builder = Builder(directory / "docker", command, env)
    try:
        yield builder, int(builder("version", "--format", "{{.Server.Version}}").split(".")[0])
    finally:
        builder.close()
        if daemon is not None:
            daemon.terminate()
            daemon.wait(30)


def _daemon(directory: Path, client: str) -> tuple[subprocess.Popen[bytes], str]:
    directory.mkdir()
    host = f"unix://{directory}/sock"
    with open(directory / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", directory / "root", "--exec-root", directory / "exec", "-p", directory / "pid",
             "-H", host, "--iptables=false", "--bridge=none"],
            stdout=log, stderr=log,
        )  # fmt: skip
    deadline = time.monotonic() + 30
    while subprocess.run([client, "-H", host, "version"], capture_output=True).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            daemon.wait()
            pytest.skip("dockerd does not start here: " + (directory / "log").read_text()[-500:])
    return daemon, host


_MADE = ("file 0755 0:0", "directory 0755 0:0")


class Podman(Builder):
    """Buildah, with Podman's commands. ``chroot`` isolation: it needs no cgroups, which small machines lack."""

    build_flags = ("--network=host", "--layers", "--format=docker", "--isolation=chroot")
    save_flags = ("--format=docker-archive",)

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0 or not shutil.which("podman"):
            pytest.skip("needs podman")
        storage = ["--root", str(directory / "podman/root"), "--runroot", str(directory / "podman/run")]
        command = ["podman", *storage, "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        super().__init__(directory / "podman", command, {})

    def observe(self, name: str, on_base: bool = True) -> dict[str, Any]:
        """Without what Buildah adds of its own: to every configuration, and by ``chroot`` to the files."""
        seen = super().observe(name, on_base)
        seen["config"].pop("Hostname", None)
        if on_base and seen["files"].get("bin/busybox", "") is None:  # FROM scratch: nothing of the base is missed
            seen["files"] = {path: entry for path, entry in seen["files"].items() if entry is not None}
        labels = seen["config"].get("Labels", {})
        labels.pop("io.buildah.version", None)
        if not labels:
            seen["config"].pop("Labels", None)
        if not seen["config"].get("Cmd"):
            seen["config"].pop("Cmd", None)
        for name in ("etc/hostname", "etc/hosts", "etc/resolv.conf", "etc", "dev", "proc", "run", "sys"):
            if name not in self.base_files and seen["files"].get(name, [""])[0] in _MADE:
                del seen["files"][name]
        return seen
