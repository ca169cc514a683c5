"""The input of the work: base images as archives that every tool loads, build contexts, Dockerfiles."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterable

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL_FILES = 20_000
BIG_FILE_BYTES = 1 << 30

CACHED = """\
FROM bench/busybox
ENV A=1
WORKDIR /app
COPY a.txt .
RUN echo one >one
COPY directory ./directory
RUN echo two >two
LABEL x=y
EXPOSE 80
CMD ["true"]
"""
TEN_RUNS = "FROM bench/busybox\n" + "".join(f"RUN echo {number} >/{number}\n" for number in range(10))
COPY_ALL = "FROM bench/busybox\nCOPY . /data/\n"
LINK_ALL = "FROM bench/busybox\nCOPY below /\nCOPY --link d* /data/\n"
WRITE_FILES = f"""\
FROM bench/busybox
RUN mkdir /data && cd /data && for d in $(seq 20); do \\
      mkdir $d; for f in $(seq {SMALL_FILES // 20}); do echo $d $f >$d/$f; done; done
"""
# Eight chains that wait; the longest takes PARALLEL_SECONDS.
PARALLEL_SECONDS = 4
PARALLEL = (
    "".join(f"FROM bench/busybox AS s{n}\nRUN sleep 2; echo {n} >/{n}\nRUN sleep 2; echo >>/{n}\n" for n in range(8))
    + "FROM scratch\n"
    + "".join(f"COPY --from=s{n} /{n} /\n" for n in range(8))
)


def write(path: str, content: str | bytes) -> str:
    """Write a file with its directories."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def small_files(directory: str) -> str:
    """20,000 files of about 1 KiB in 200 directories."""
    for number in range(SMALL_FILES):
        name = os.path.join(directory, f"d{number % 200}", f"file-{number}.txt")
        if number < 200:
            os.makedirs(os.path.dirname(name))
        with open(name, "wb") as file:
            file.write((f"{number} of {SMALL_FILES} " * 60).encode()[:1024])
    return directory


def big_file(directory: str) -> str:
    """One file of 1 GiB that does not compress."""
    os.makedirs(directory)
    with open(os.path.join(directory, "big"), "wb") as file:
        for _ in range(BIG_FILE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    return directory


def root_file_systems() -> dict[str, str]:
    """Plain tars of the busybox and debian root file systems, by name."""
    done = subprocess.run(
        [os.path.join(HERE, "..", "images", "make"), "--contexts", "busybox", "debian"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    busybox, debian = done.stdout.split()
    return {"busybox": busybox + "/root", "debian": debian + "/rootfs.tar"}


def add_below(archive: tarfile.TarFile, path: str, directory: str) -> None:
    """All entries of the tar at ``path``, below ``directory``."""
    with tarfile.open(path) as source:
        for entry in source:
            content = source.extractfile(entry) if entry.isreg() else None
            entry.name = f"{directory}/{entry.name}"
            if entry.islnk():
                entry.linkname = f"{directory}/{entry.linkname}"
            archive.addfile(entry, content)


def layer_of(path: str) -> bytes | str:
    """A layer: the tar itself, or one made of a directory."""
    if not os.path.isdir(path):
        return path
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted(os.listdir(path)):
            tar.add(os.path.join(path, name), arcname=name, filter=_of_root)
    return buffer.getvalue()


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def docker_archive(path: str, layer: bytes | str, names: Iterable[str]) -> str:
    """A docker-archive with one image for each name: the same layer under different configurations."""
    if isinstance(layer, str):
        with open(layer, "rb") as file:
            diff_id = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        diff_id = hashlib.sha256(layer).hexdigest()
    manifest = []
    with tarfile.open(path, "w") as tar:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

        if isinstance(layer, str):
            tar.add(layer, arcname=f"{diff_id}.tar", filter=_of_root)
        else:
            add(f"{diff_id}.tar", layer)
        for name in names:
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "created": "2024-01-01T00:00:00Z",
                    "config": {"Cmd": ["sh"], "Labels": {"bench": name}, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
                    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "bench"}],
                }
            ).encode()
            digest = hashlib.sha256(config).hexdigest()
            add(f"{digest}.json", config)
            manifest.append({"Config": f"{digest}.json", "RepoTags": [f"{name}:latest"], "Layers": [f"{diff_id}.tar"]})
        add("manifest.json", json.dumps(manifest).encode())
    return path


def gzipped(path: str) -> str:
    """A gzip copy beside the file."""
    with open(path, "rb") as source, gzip.open(path + ".gz", "wb", compresslevel=1) as sink:
        while piece := source.read(1 << 20):
            sink.write(piece)
    return path + ".gz"
