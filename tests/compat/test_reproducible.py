"""The same input gives the same image: in another root directory, later, from another place, in any order of steps.

By default this holds for everything but RUN, whose results are its own; with SOURCE_DATE_EPOCH for RUN too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

BUSYBOX = "/bin/busybox"
EPOCH = "1700000000"
FILES = """\
FROM scratch AS base
COPY busybox /bin/busybox
COPY tree /opt/tree

FROM base AS left
WORKDIR /made/by/workdir
COPY --chown=5:6 tree/a tree/b /made/by/copy/

FROM base AS right
ADD archive.tar /unpacked/here
COPY <<EOF /etc/deep/heredoc
text
EOF
USER 7:8
WORKDIR /owned

FROM base
COPY --from=left /made /made
COPY --from=right /unpacked /etc /merged/
COPY tree/sub /opt/tree/sub
LABEL a=1
"""
RUNS = """\
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]

FROM base AS slow
RUN i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; mkdir -p /slow/dir && echo 1 > /slow/dir/f

FROM base AS fast
RUN mkdir /fast && touch /fast/f && ln -s f /fast/l
RUN echo x > /fast/g && rm /fast/f

FROM base AS third
WORKDIR /third
RUN echo 3 > f

FROM base
COPY --from=slow /slow /slow
COPY --from=fast /fast /fast
COPY --from=third /third /third
RUN cat /slow/dir/f /fast/g /third/f > /all && rm /bin/awk
"""
BUILD = """\
import json, sys
import cais
from cais.engine.build import BuildOptions
root, context, workers, epoch = sys.argv[1:]
with cais.open(root) as engine:
    options = BuildOptions(context, tags=["x"], workers=int(workers), epoch=int(epoch) if epoch else None)
    result = engine.builder.build(options)
    print(json.dumps([result.image_id, result.digest]))
"""


class Ids(NamedTuple):
    image: str
    manifest: str


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    if os.geteuid() != 0 or not os.path.exists(BUSYBOX) or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root, busybox-static and an OCI runtime")
    return tmp_path


def make_context(path: Path, dockerfile: str) -> Path:
    import io
    import tarfile

    (path / "tree/sub/deep").mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "busybox")
    for name in ("a", "b", "sub/c", "sub/deep/d"):
        (path / "tree" / name).write_text(name)
    (path / "tree/link").symlink_to("a")
    (path / "tree/sub/deep").chmod(0o750)
    with tarfile.open(path / "archive.tar", "w") as archive:
        for name in ("x/y", "z"):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = 3, 1_500_000_000
            archive.addfile(entry, io.BytesIO(b"abc"))
    (path / "Dockerfile").write_text(dockerfile)
    for number, (parent, directories, files) in enumerate(os.walk(path)):
        for name in (*directories, *files):
            when = 1_600_000_000 + number
            os.utime(os.path.join(parent, name), (when, when), follow_symlinks=False)
    return path


def build(root: Path, context: Path, *, workers: int = 0, epoch: str = "") -> Ids:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(root), str(context), str(workers), epoch],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Ids(*json.loads(done.stdout))


def command(root: Path, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cais", *words],
        env={**os.environ, "CAIS_ROOT": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_for_another_second() -> None:
    now = int(time.time())
    tick = threading.Event()
    while int(time.time()) == now:
        tick.wait(0.01)


@pytest.mark.root
@pytest.mark.parametrize(
    ("dockerfile", "epoch"),
    [(FILES, ""), (FILES, EPOCH), (RUNS, EPOCH)],
    ids=["files", "files with an epoch", "RUN with an epoch"],
)
def test_another_root_another_time_another_order(directory: Path, dockerfile: str, epoch: str) -> None:
    context = make_context(directory / "one", dockerfile)
    first = build(directory / "root-1", context, workers=1, epoch=epoch)
    wait_for_another_second()
    # Another place: other inodes and change times, another order in the directories, the same files.
    elsewhere = directory / "an" / "other" / "place"
    shutil.copytree(context, elsewhere, symlinks=True)
    second = build(directory / "root-2", elsewhere, workers=4, epoch=epoch)
    assert first == second


@pytest.mark.root
def test_the_cache_gives_what_building_gives(directory: Path) -> None:
    """A rebuild after a change, on what the cache has of the rest, is the image of a build from nothing."""
    context = make_context(directory / "one", FILES)
    first = build(directory / "root", context)
    (context / "tree/a").write_text("changed")
    os.utime(context / "tree/a", (1_600_000_500, 1_600_000_500))
    wait_for_another_second()
    changed = build(directory / "root", context)
    assert changed != first
    assert changed == build(directory / "empty-root", context)


@pytest.mark.root
def test_the_drivers_give_the_same_image(directory: Path) -> None:
    context = make_context(directory / "one", RUNS)
    ids = {
        command(
            directory / driver, "build", "-q", str(context), SOURCE_DATE_EPOCH=EPOCH, CAIS_DRIVER=driver
        )
        for driver in ("overlay", "copies")
    }  # fmt: skip
    for driver in ("overlay", "copies"):
        assert command(directory / driver, "info", "--format", "{{.Driver}}") == driver
    assert len(ids) == 1


@pytest.mark.root
def test_with_an_epoch_nothing_is_newer(directory: Path) -> None:
    import tarfile

    context = make_context(directory / "one", RUNS)
    archive = directory / "image.tar"
    command(
        directory / "root", "build", "-q", "-o", f"type=docker,dest={archive}", str(context), SOURCE_DATE_EPOCH=EPOCH
    )
    seen = 0
    with tarfile.open(archive) as opened:
        manifest = json.load(opened.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        config = json.load(opened.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        assert config["created"] == "2023-11-14T22:13:20Z"
        assert {entry["created"] for entry in config["history"]} == {config["created"]}
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=opened.extractfile(layer)) as files:
                for entry in files:
                    assert entry.mtime <= int(EPOCH), entry.name
                    seen += 1
    assert seen > 10
