"""The documentation holds: links lead somewhere, commands run, every command is described."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.command import PROJECT, installed_command
from registry_servers import docker_registry

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
RUNNABLE = re.compile(r"^```sh test\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_COMMANDS = [page for page in PAGES if RUNNABLE.search(page.read_text())]


def named(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def anchors(page: Path) -> set[str]:
    """The anchors that headings get, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link, picture in LINK.findall(page.read_text()):
        path, _, anchor = (link or picture).partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{named(page)} links to {path}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{named(page)} links to #{anchor}, which {path or 'it'} does not have"


def test_the_index_names_every_page() -> None:
    index = (PROJECT / "docs" / "README.md").read_text()
    for page in (PROJECT / "docs").rglob("*.md"):
        name = str(page.relative_to(PROJECT / "docs"))
        assert name == "README.md" or f"({name})" in index, f"docs/README.md does not name {name}"


def test_the_reference_is_what_the_commands_say() -> None:
    made = runpy.run_path(str(PROJECT / "scripts" / "reference"))["page"]()
    kept = (PROJECT / "docs" / "reference" / "commands.md").read_text()
    assert kept == made, "docs/reference/commands.md is old: run make docs"


def test_what_peers_build_otherwise_is_listed_with_the_reason() -> None:
    made = runpy.run_path(str(PROJECT / "scripts" / "differences"))["page"]()
    kept = (PROJECT / "docs" / "reference" / "compatibility.md").read_text()
    assert kept == made, "docs/reference/compatibility.md is old: run make docs"


def test_every_module_of_a_command_is_in_the_reference() -> None:
    kept = (PROJECT / "docs" / "reference" / "commands.md").read_text()
    for path in (PROJECT / "src" / "cais" / "cli" / "commands").glob("*.py"):
        words = path.stem.replace("_", " ")
        source = path.read_text()
        if not path.stem.startswith("_") and re.search(r"^COMMAND\b", source, re.MULTILINE):
            assert f"## cais {words}\n" in kept, words


def test_limits_and_settings_are_those_of_the_code() -> None:
    """The numbers in docs/reference/limits.md, as the modules have them."""
    from cais.build.dockerfile.lexer import SIZE_LIMIT_BYTES as dockerfile
    from cais.build.ops.archive import LIMIT_BYTES as added
    from cais.engine.build_archives import LIMIT_BYTES as context
    from cais.engine.build_log import KEPT_BUILDS, STEP_OUTPUT_LIMIT_BYTES
    from cais.image.archive import ARCHIVE_LIMIT_BYTES, MEMBERS_LIMIT
    from cais.image.layers import UNPACKED_LIMIT_BYTES
    from cais.image.load import IMAGES_LIMIT
    from cais.sources.command import GIT_LIMITS
    from cais.sources.http import LIMITS
    from cais.spec.media_types import CONFIG_LIMIT_BYTES, MANIFEST_LIMIT_BYTES

    text = (PROJECT / "docs" / "reference" / "limits.md").read_text()
    for row, value, unit in (
        ("a Dockerfile", dockerfile >> 20, " MiB"),
        ("a manifest or index", MANIFEST_LIMIT_BYTES >> 20, " MiB"),
        ("an image's config", CONFIG_LIMIT_BYTES >> 20, " MiB"),
        ("members of an archive that is loaded", MEMBERS_LIMIT, ""),
        ("images in one archive", IMAGES_LIMIT, ""),
        ("an archive, uncompressed", ARCHIVE_LIMIT_BYTES >> 40, " TiB"),
        ("a layer, uncompressed", UNPACKED_LIMIT_BYTES >> 30, " GiB"),
        ("an archive that ADD unpacks, uncompressed", added >> 30, " GiB"),
        (
            "a file by URL",
            LIMITS.size_bytes >> 30,
            f" GiB; at least {LIMITS.window_bytes >> 10} KiB in each minute; 10 redirects",
        ),
        (
            "a git repository, as fetched",
            GIT_LIMITS.size_bytes >> 30,
            " GiB; an hour for a command, two minutes without a byte",
        ),
        ("an archive that is a context, uncompressed", context >> 30, " GiB"),
        ("the kept output of one build step", STEP_OUTPUT_LIMIT_BYTES >> 20, " MiB"),
        ("kept logs of builds", KEPT_BUILDS, ""),
    ):
        assert f"| {row} | {value:,}{unit} |" in text


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A root directory with the base images, and the command on PATH."""
    directory = Path(tempfile.mkdtemp(prefix="cais-docs-", dir="/var/tmp"))
    command = installed_command(directory)
    env = {
        **os.environ,
        "CAIS": str(command),
        "CAIS_ROOT": str(directory / "root"),
        "PATH": f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run([PROJECT / "images" / "make", "busybox"], env=env, check=True)
    if not shutil.which("docker-registry"):
        yield env
    else:
        with docker_registry(directory / "registry") as server:
            yield {**env, "REGISTRY": server.address, "DOCKER_CONFIG": str(directory / "docker")}
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.root
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=named)
def test_commands_run(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """The blocks of a page that are marked ``sh test``, in one shell, in a directory with images/ and examples/."""
    for name in ("images", "examples"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    script = "set -euo pipefail\n" + "\n".join(RUNNABLE.findall(page.read_text()))
    if "$REGISTRY" in script and "REGISTRY" not in environment:
        pytest.skip("needs docker-registry (package docker-registry)")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
