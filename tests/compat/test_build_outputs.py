"""What a build puts out is what other tools read: skopeo, umoci, podman."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cais.engine import Engine, Settings
from cais.engine.build import BuildOptions, BuildResult
from compat.test_image_archives import need, run

pytestmark = [pytest.mark.peer, pytest.mark.root]
BOTH = "linux/amd64,linux/arm64"
DOCKERFILE = """FROM scratch
ARG TARGETARCH
COPY file /d/file
COPY file-$TARGETARCH /d/arch
LABEL arch=$TARGETARCH
"""


class Work:
    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self.engine = engine
        self.context = directory / "context"
        self.context.mkdir()
        for name, text in {
            "Dockerfile": DOCKERFILE, "file": "x" * 100_000, "file-amd64": "a", "file-arm64": "b"
        }.items():  # fmt: skip
            (self.context / name).write_text(text)

    def build(self, *outputs: str, platform: str = "", tags: tuple[str, ...] = ("example.org/app:v1",)) -> BuildResult:
        options = BuildOptions(context=str(self.context), outputs=outputs, platform=platform, tags=tags)
        with ThreadPoolExecutor(1) as thread:  # the mounts are that thread's
            return thread.submit(self.engine.builder.build, options).result()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    with Engine(Settings(str(tmp_path / "root"))) as engine:
        yield Work(tmp_path, engine)


COMPRESSIONS = ("uncompressed", "gzip", "gzip,compression-level=9", "zstd", "zstd,compression-level=19")


class TestSkopeo:
    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_copies_every_platform_of_an_archive(self, work: Work, compression: str) -> None:
        need("skopeo")
        archive = work.directory / "o.tar"
        result = work.build(f"type=oci,dest={archive},compression={compression}", platform=BOTH)
        raw = run("skopeo", "inspect", "--raw", f"oci-archive:{archive}")
        assert [item["platform"]["architecture"] for item in json.loads(raw)["manifests"]] == ["amd64", "arm64"]
        run("skopeo", "copy", "--quiet", "--all", f"oci-archive:{archive}", f"dir:{work.directory}/copied")
        digest = run("skopeo", "manifest-digest", work.directory / "copied" / "manifest.json").strip()
        assert digest == result.digest, "nothing had to be changed on the way"

    def test_chooses_a_platform(self, work: Work) -> None:
        need("skopeo")
        work.build(f"type=oci,dest={work.directory}/layout,tar=false,compression=gzip", platform=BOTH)
        for architecture in ("amd64", "arm64"):
            seen = json.loads(
                run("skopeo", "--override-arch", architecture, "inspect", "--config", f"oci:{work.directory}/layout")
            )
            assert seen["architecture"] == seen["config"]["Labels"]["arch"] == architecture

    def test_an_archive_of_docker(self, work: Work) -> None:
        need("skopeo")
        archive = work.directory / "d.tar"
        result = work.build(f"type=docker,dest={archive},compression=gzip,oci-mediatypes=false")
        run("skopeo", "copy", "--quiet", f"docker-archive:{archive}:example.org/app:v1", f"dir:{work.directory}/copied")
        manifest = json.loads((work.directory / "copied" / "manifest.json").read_text())
        assert manifest["config"]["digest"] == result.image_id


def test_umoci_unpacks_a_layout(work: Work) -> None:
    need("umoci")
    layout = work.directory / "layout"
    work.build(f"type=oci,dest={layout},tar=false,compression=gzip", tags=("v1",))
    index = json.loads((layout / "index.json").read_text())
    for item in index["manifests"]:  # umoci knows tags alone, not names
        item["annotations"]["org.opencontainers.image.ref.name"] = "v1"
    (layout / "index.json").write_text(json.dumps(index))
    run("umoci", "raw", "unpack", "--image", f"{layout}:v1", work.directory / "unpacked")
    assert (work.directory / "unpacked" / "d" / "arch").read_text() == "a"


@pytest.fixture
def podman() -> Iterator[tuple[str, ...]]:
    need("podman")
    directory = tempfile.mkdtemp(prefix="cais-", dir="/var/tmp")  # its run root must be short
    yield ("podman", f"--root={directory}/root", f"--runroot={directory}/run", "--storage-driver=vfs")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("compression", ["uncompressed", "gzip", "zstd"])
def test_podman_loads_an_archive_of_several(work: Work, podman: tuple[str, ...], compression: str) -> None:
    archive = work.directory / "o.tar"
    work.build(f"type=oci,dest={archive},compression={compression}", platform=BOTH)
    run(*podman, "load", "-i", archive)
    (shown,) = json.loads(run(*podman, "image", "inspect", "example.org/app:v1"))
    assert shown["Labels"]["arch"] == {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def test_gnu_tar_reads_a_tar_of_several(work: Work) -> None:
    archive = work.directory / "files.tar"
    work.build(f"type=tar,dest={archive}", platform=BOTH)
    (work.directory / "out").mkdir()
    run("tar", "-C", work.directory / "out", "-xf", archive)
    assert (work.directory / "out" / "linux_arm64" / "d" / "arch").read_text() == "b"
    with tarfile.open(archive) as opened:
        assert len(opened.getnames()) == len(set(opened.getnames()))
