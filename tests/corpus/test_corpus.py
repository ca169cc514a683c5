"""The same Dockerfiles built by Cais and by its peers give the same image.

What comes out is kept beside each case (``cases``), so that Cais is held to it where there is no Docker; where there is
one, the kept expectation is itself verified: once, and again when it changes (``verified``). Docker is a daemon of our
own from PATH, or the one that ``CAIS_TEST_DOCKER_HOST`` names (a later version than the distribution's);
``CAIS_TEST_DOCKER`` is another client, with its first words, and ``CAIS_TEST_DIRECTORY`` where contexts may stand that
it can read. ``CAIS_RECORD=docker`` (or ``cais``, for what Docker does otherwise) writes the expectations anew: look at
the difference before you commit it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus import builders, verified
from corpus.builders import Builder, Podman
from corpus.case import Case, cases
from corpus.compare import differences, same_but_for_the_version

pytestmark = pytest.mark.root
CASES = cases()
RECORD = os.environ.get("CAIS_RECORD", "")
CHECKED = [case for case in CASES if case.warns]
each_checked_case = pytest.mark.parametrize("case", CHECKED, ids=[case.name for case in CHECKED])
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    # Not pytest's own: that may be a tmpfs, which keeps not every attribute.
    path = Path(tempfile.mkdtemp(prefix="cais-build-", dir=os.environ.get("CAIS_TEST_DIRECTORY", "/var/tmp")))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def cais(directory: Path, request: pytest.FixtureRequest) -> Iterator[Builder]:
    builder = builders.cais(directory)
    builder.make_bases()
    builder.start(_wanted(request, test_cais_gives_the_expected_image))
    yield builder
    builder.close()


@pytest.fixture(scope="module")
def docker(directory: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Builder, int]]:
    with builders.docker(directory) as (builder, version):
        builder.make_bases()
        cases = _wanted(request, test_docker_gives_the_expected_image)
        builder.start(
            case
            for case in cases
            if not case.differs and case.needs_docker <= version and verified.is_due("docker", case)
        )
        yield builder, version


@pytest.fixture(scope="module")
def podman(directory: Path, request: pytest.FixtureRequest) -> Iterator[Podman]:
    builder = Podman(directory)
    builder.make_bases()
    cases = _wanted(request, test_podman_gives_the_same)
    builder.start(case for case in cases if not case.differs_podman and verified.is_due("podman", case))
    yield builder
    builder.close()


def _wanted(request: pytest.FixtureRequest, test: object) -> list[Case]:
    """The cases of the session's tests, in their order."""
    items = [item for item in request.session.items if getattr(item, "function", None) is test]
    return [item.callspec.params["case"] for item in items]  # type: ignore[attr-defined]


@each_case
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


@each_checked_case
def test_cais_finds_what_is_expected(case: Case, cais: Builder) -> None:
    assert cais.check(case) == case.warns


@pytest.mark.peer
@each_checked_case
def test_docker_finds_what_is_expected(case: Case, docker: tuple[Builder, int]) -> None:
    builder, version = docker
    if version < 27:
        pytest.skip(f"needs the checks of Docker 27, this is {version}")
    assert builder.check(case) == case.warns


@pytest.mark.peer
@each_case
def test_docker_gives_the_expected_image(case: Case, docker: tuple[Builder, int]) -> None:
    builder, version = docker
    if case.differs:
        pytest.skip(f"Cais differs: {case.differs}")
    if case.needs_docker > version:
        pytest.skip(f"needs Docker {case.needs_docker}, this is {version}")
    verified.skip_unless_due("docker", case)
    built = builder.build(case)
    if case.fails:
        assert built.image is None, "Docker builds this"
        builder("version")  # it said no; it did not die
        verified.agreed("docker", case)
        return
    assert built.image is not None, built.said
    if RECORD == "docker":
        case.record(built.image)
    expected = case.expected()
    built.image["history"] = [
        known if same_but_for_the_version(known, entry, version) else entry
        for known, entry in zip(expected["history"], built.image["history"], strict=True)
    ]
    assert differences(expected, built.image) == []
    verified.agreed("docker", case)


@pytest.mark.peer
@each_case
def test_podman_gives_the_same(case: Case, podman: Podman) -> None:
    """Configuration and files; Buildah writes the history in its own words, and leaves layers out that are empty."""
    if case.differs_podman:
        pytest.skip(f"Podman differs: {case.differs_podman}")
    if case.name.startswith("checks/"):
        pytest.skip("Podman has no build checks")
    verified.skip_unless_due("podman", case)
    built = podman.build(case)
    if case.fails:
        assert built.image is None, "Podman builds this"
        verified.agreed("podman", case)
        return
    assert built.image is not None, built.said
    expected = case.expected()
    same = {name: built.image[name] for name in ("config", "files")}
    for image in (expected, same):
        if image["config"].get("WorkingDir") == "/":  # BuildKit says so for what begins with nothing
            del image["config"]["WorkingDir"]
    assert differences(expected, {**expected, **same}) == []
    verified.agreed("podman", case)
