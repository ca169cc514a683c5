"""The same Dockerfiles built by Cais and by Docker's BuildKit give the same image.

What comes out is kept beside each case (``build_cases``), so that Cais is held to it where there is no Docker; where
there is one, the kept expectation is itself verified. Docker is a daemon of our own from PATH, or the one that
``CAIS_TEST_DOCKER_HOST`` names (a later version than the distribution's). ``CAIS_RECORD=docker`` (or ``cais``, for
what Docker does otherwise) writes the expectations anew: look at the difference before you commit it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from compat.build_case import BASE_CHANGES, Case, base_archive, cases, observe

pytestmark = pytest.mark.root
CASES = cases()
RECORD = os.environ.get("CAIS_RECORD", "")
WORKERS = 4
# From this version on, the history of ARG has the value that the command line gave,
SHOWS_GIVEN_ARGUMENTS = 27
# and from this one on that of COPY, ADD and HEALTHCHECK has all their flags.
SHOWS_FLAGS = 23
ONBUILD_CHANGES = ("ONBUILD COPY a.txt /triggered/", "ONBUILD RUN cat /triggered/a.txt > /twice", "ONBUILD ENV SET=yes")


class Built:
    """How a build ended: ``image`` is what ``observe`` tells of it, None where it failed."""

    def __init__(self, said: str, image: dict[str, Any] | None) -> None:
        self.said = said
        self.image = image


class Builder:
    """One of the two, as commands with an environment."""

    def __init__(self, directory: Path, command: list[str], env: dict[str, str]) -> None:
        self.directory = directory
        self.command = command
        self.env = {**os.environ, **env}
        self.version = 0
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
            [*self.command, *words], input=input, env={**self.env, **(env or {})}, capture_output=True, timeout=120
        )

    def make_bases(self) -> None:
        archive = base_archive()
        for name, changes in (("base", BASE_CHANGES), ("base-onbuild", (*BASE_CHANGES, *ONBUILD_CHANGES))):
            flags = [word for change in changes for word in ("--change", change)]
            self("import", *flags, "-", name, input=archive)
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
        done = self.run("build", "-q", "--network=host", "-t", name, *case.flags, str(context), env=dict(case.env))
        said = done.stderr.decode(errors="replace")
        return Built(said, self.observe(name) if done.returncode == 0 else None)

    def observe(self, name: str, on_base: bool = True) -> dict[str, Any]:
        archive = self.directory / f"{name}.tar"
        self("save", "-o", str(archive), name)
        seen = observe(archive, self.base_files if on_base else {})
        archive.unlink()
        return seen

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    # Not pytest's own: that may be a tmpfs, which keeps not every attribute.
    path = Path(tempfile.mkdtemp(prefix="cais-build-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def cais(directory: Path, request: pytest.FixtureRequest) -> Iterator[Builder]:
    if os.geteuid() != 0 or not os.path.exists("/bin/busybox") or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root, busybox-static and an OCI runtime")
    (directory / "cais").mkdir()
    builder = Builder(
        directory / "cais", [sys.executable, "-m", "cais"], {"CAIS_ROOT": str(directory / "root"), "LC_ALL": "C.UTF-8"}
    )
    builder.make_bases()
    builder.start(_wanted(request, test_cais_gives_the_expected_image))
    yield builder
    builder.close()


@pytest.fixture(scope="module")
def docker(directory: Path, request: pytest.FixtureRequest) -> Iterator[Builder]:
    client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else shutil.which("docker")
    (directory / "docker").mkdir()
    host = os.environ.get("CAIS_TEST_DOCKER_HOST", "")
    daemon = None
    if not client or not (host or shutil.which("dockerd")) or os.geteuid() != 0:
        pytest.skip("needs docker and dockerd (package docker.io)")
    if not host:
        daemon, host = _daemon(directory / "daemon", client)
    env = {"DOCKER_HOST": host, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(directory / "docker-config")}
    builder = Builder(directory / "docker", [client], env)
    try:
        builder.version = int(builder("version", "--format", "{{.Server.Version}}").split(".")[0])
        builder.make_bases()
        cases = _wanted(request, test_docker_gives_the_expected_image)
        builder.start(case for case in cases if not case.differs and case.needs_docker <= builder.version)
        yield builder
    finally:
        builder.close()
        if daemon is not None:
            daemon.terminate()
            daemon.wait(30)


def _wanted(request: pytest.FixtureRequest, test: object) -> list[Case]:
    """The cases of the session's tests, in their order."""
    items = [item for item in request.session.items if getattr(item, "function", None) is test]
    return [item.callspec.params["case"] for item in items]  # type: ignore[attr-defined]


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


def differences(expected: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    """What is not as expected, a line each. The time of a file counts where the expectation names it."""
    lines = []
    for part in ("config", "files"):
        for name in sorted({*expected[part], *seen[part]}):
            wanted, there = expected[part].get(name, "as in the base"), seen[part].get(name, "as in the base")
            if (
                part == "files"
                and there
                and "time of the source" in there
                and "time of the source" not in (wanted or ())
            ):
                there = [word for word in there if word != "time of the source"]
            if wanted != there:
                lines.append(f"{part} {name}: expected {wanted}, is {there}")
    if expected["layers"] != seen["layers"]:
        lines.append(f"{expected['layers']} layers expected, are {seen['layers']}")
    if len(expected["history"]) != len(seen["history"]):
        lines.append(f"history: expected {expected['history']}, is {seen['history']}")
    for wanted, there in zip(expected["history"], seen["history"], strict=False):
        if wanted != there:
            lines.append(f"history: expected {wanted}, is {there}")
    return lines


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_cais_gives_the_expected_image(case: Case, cais: Builder) -> None:
    built = cais.build(case)
    if case.fails:
        assert built.image is None, "it should have failed"
        assert case.fails in built.said
        assert "Traceback" not in built.said
        return
    assert built.image is not None, built.said
    if RECORD == "cais" and (case.differs or not case.expectation.exists()):
        case.record(built.image)
    assert differences(case.expected(), built.image) == []


@pytest.mark.peer
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_docker_gives_the_expected_image(case: Case, docker: Builder) -> None:
    if case.differs:
        pytest.skip(f"Cais differs: {case.differs}")
    if case.needs_docker > docker.version:
        pytest.skip(f"needs Docker {case.needs_docker}, this is {docker.version}")
    built = docker.build(case)
    if case.fails:
        assert built.image is None, "Docker builds this"
        docker("version")  # it said no; it did not die
        return
    assert built.image is not None, built.said
    if RECORD == "docker":
        case.record(built.image)
    expected = case.expected()
    built.image["history"] = [
        known if _same_but_for_the_version(known, entry, docker.version) else entry
        for known, entry in zip(expected["history"], built.image["history"], strict=True)
    ]
    assert differences(expected, built.image) == []


def _same_but_for_the_version(known: list[str], entry: list[str], version: int) -> bool:
    """Whether two entries of the history are the same for what a ``version`` of Docker writes."""
    keyword = known[0].partition(" ")[0]
    if keyword != entry[0].partition(" ")[0] or known[1:] != entry[1:]:
        return False
    if keyword == "ARG" and version < SHOWS_GIVEN_ARGUMENTS:
        return _names(known[0]) == _names(entry[0])
    return keyword in ("COPY", "ADD", "HEALTHCHECK") and version < SHOWS_FLAGS


def _names(arg: str) -> list[str]:
    """Of an ARG whose values have no "=" in them."""
    words = arg.split(" ")
    return [word.partition("=")[0] for word in words if "=" in word or word.isidentifier()]
