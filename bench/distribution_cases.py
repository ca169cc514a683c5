"""The cases of images that move: pushed, pulled ready to run, copied. The registry is Debian's docker-registry, beside
each peer, in the peer's own network; a fresh one where nothing may be known from the last round. That one hashes and
stores 1 GiB in about 5 s, which no client can be faster than: pushes are measured to Cais's registry as well."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import workloads
from cases import Case, nothing
from peers import BASE_ENV
from places import Network, end, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cases import Work
    from peers import Peer
    from places import Place

START_SECONDS = 30
LAYERS = 50


@contextmanager
def registry(work: Work, place: Place | None, *, own: bool = False) -> Iterator[str]:
    """A docker-registry, or Cais's ``own``, in the network of a place, for as long as the block lasts; its address."""
    directory = work.fresh("registry")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    config = workloads.write(f"{directory}/config.yml", "version: 0.1\nstorage:\n  filesystem: {}\nhttp: {}\n")
    words = ["docker-registry", "serve", config]
    if own:
        words = [work.cais, "registry", "serve", "--root", f"{directory}/data", "--listen", address]
        words += ["--anonymous", "write"]
    environment = {
        **BASE_ENV,
        "REGISTRY_HTTP_ADDR": address,
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": f"{directory}/data",
        "OTEL_TRACES_EXPORTER": "none",
    }
    log = f"{directory}/log"
    network = None if place is None else Network(place)
    server = start(words, network, environment, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "listening on" not in _text(log):
            ended, _ = os.waitpid(server, os.WNOHANG)
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not start: {_text(log)[-500:]}")
            time.sleep(0.02)
        yield address
    finally:
        end(server)
        shutil.rmtree(directory, ignore_errors=True)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def push_image(name: str, *, own: bool = False) -> Callable[[Work, Peer], list[float]]:
    """To a registry that nobody has seen; nothing is compressed already."""

    def push(work: Work, peer: Peer) -> list[float]:
        peer.forget(f"bench/{name}")
        peer.load(work.archives[name]).ok()
        with registry(work, peer.place, own=own) as address:
            target = f"{address}/bench/{name}"
            peer.do("tag", "tag", f"bench/{name}", target).ok()
            os.sync()
            seconds = peer.push(target).ok().seconds
            peer.forget(target)
        return [seconds]

    return push


def pull_image(name: str) -> Callable[[Work, Peer], list[float]]:
    """Until the first container of it has run."""

    def pull(work: Work, peer: Peer) -> list[float]:
        peer.forget(f"bench/{name}")
        with registry(work, peer.place) as address:
            target = f"{address}/bench/{name}"
            fill(work, peer, work.archives[name], target)
            os.sync()
            pulled = peer.pull(target).ok().seconds
            ran = peer.run(target, "none").ok().seconds
            peer.forget(target)
        peer.load(work.archives[name]).ok()
        return [pulled + ran]

    return pull


def fill(work: Work, peer: Peer, archive: str, target: str) -> None:
    """By a tool that is not compared."""
    words = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{target}"]
    child = start(words, peer.place, BASE_ENV, work.path("output"))
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        end(child)
        raise
    if status:
        raise RuntimeError(f"skopeo: {_text(work.path('output'))[-500:]}")


def prepare_big(work: Work) -> None:
    """An image with busybox and a gigabyte that does not compress in one layer."""
    if "big" in work.archives:
        return
    if not os.path.exists(work.path("big")):
        workloads.big_file(work.path("big"))
    layer = work.path("big-layer.tar")
    with tarfile.open(layer, "w") as archive:
        archive.add(workloads.root_file_systems()["busybox"], arcname=".")
        archive.add(work.path("big", "big"), arcname="big")
    work.archives["big"] = workloads.docker_archive(work.path("big-image.tar"), layer, ["bench/big"])
    os.unlink(layer)


def prepare_files(work: Work) -> None:
    """An image with busybox and a gigabyte of ordinary files in one layer: Debian's, in as many directories."""
    if "files" in work.archives:
        return
    systems = workloads.root_file_systems()
    layer = work.path("files-layer.tar")
    with tarfile.open(layer, "w") as archive:
        archive.add(systems["busybox"], arcname=".")
        number = 0
        while archive.offset < workloads.BIG_FILE_BYTES:
            workloads.add_below(archive, systems["debian"], f"copy-{number}")
            number += 1
    work.archives["files"] = workloads.docker_archive(work.path("files-image.tar"), layer, ["bench/files"])
    os.unlink(layer)


def load(name: str) -> Callable[[Work, Peer], None]:
    def loaded(work: Work, peer: Peer) -> None:
        peer.load(work.archives[name]).ok()

    return loaded


def copy_image(name: str) -> Callable[[Work, Peer], list[float]]:
    """From a registry into an OCI layout."""

    def copy(work: Work, peer: Peer) -> list[float]:
        with registry(work, peer.place) as address:
            fill(work, peer, work.archives[name], f"{address}/bench/{name}")
            directory = work.fresh("copied")
            os.sync()
            words = ("image", "copy", "-q", f"docker://{address}/bench/{name}", f"oci:{directory}:latest")
            seconds = peer.do("copy", *words).ok().seconds
            shutil.rmtree(directory)
        return [seconds]

    return copy


def copy_by_skopeo(name: str) -> Callable[[Work], list[float]]:
    def copy(work: Work) -> list[float]:
        with registry(work, None) as address:
            source = f"docker://{address}/bench/{name}"
            words = ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
            work.plain([*words, f"docker-archive:{work.archives[name]}", source])
            directory = work.fresh("copied")
            os.sync()
            seconds = work.plain([*words, source, f"oci:{directory}:latest"])
            shutil.rmtree(directory)
        return [seconds]

    return copy


def prepare_layers(work: Work) -> None:
    work.context = work.fresh("layers")
    for number in range(LAYERS):
        workloads.write(f"{work.context}/file{number}", f"{number}\n")
    steps = "".join(f"COPY file{number} /\n" for number in range(LAYERS))
    work.dockerfile("layers", f"FROM bench/busybox\n{steps}")


def push_one_of_many(work: Work, peer: Peer) -> list[float]:
    """The last of fifty layers is new, the registry has the others."""
    with registry(work, peer.place) as address:
        target = f"{address}/bench/layers"
        words = ["build", "-q", "--network=host", "-f", work.path("dockerfiles", "layers"), "-t", target]
        workloads.write(f"{work.context}/file{LAYERS - 1}", os.urandom(16).hex())
        peer.do("build", *words, work.context).ok()
        peer.push(target).ok()
        workloads.write(f"{work.context}/file{LAYERS - 1}", os.urandom(16).hex())
        peer.do("build", *words, work.context).ok()
        seconds = peer.push(target).ok().seconds
        peer.forget(target)
    return [seconds]


DISTRIBUTION_CASES = (
    Case("push", "push of debian (170 MB)", ("",), (0.33,), "keeps", nothing, nothing, push_image("debian")),
    Case("pull", "pull of debian and first run", ("",), (0.5,), "keeps", nothing, nothing, pull_image("debian")),
    Case("push-layer", f"push of an image of which one of {LAYERS} layers is new", ("",), (None,), "keeps",
         prepare_layers, nothing, push_one_of_many),
    Case("push-files", "push of a layer of 1 GiB of ordinary files", ("",), (0.33,), "keeps", prepare_files,
         load("files"), push_image("files")),
    Case("push-big", "push of a layer of 1 GiB that does not compress", ("",), (0.33,), "keeps", prepare_big,
         load("big"), push_image("big")),
    Case("push-own", "push of debian to Cais's registry", ("",), (0.33,), "keeps", nothing, nothing,
         push_image("debian", own=True)),
    Case("push-files-own", "push of a layer of 1 GiB of ordinary files to Cais's registry", ("",), (0.33,), "keeps",
         prepare_files, load("files"), push_image("files", own=True)),
    Case("push-big-own", "push of a layer of 1 GiB that does not compress to Cais's registry", ("",), (0.33,), "keeps",
         prepare_big, load("big"), push_image("big", own=True)),
    Case("pull-big", "pull of a layer of 1 GiB and first run", ("",), (0.5,), "keeps", prepare_big, nothing,
         pull_image("big")),
    Case("image-copy", "image copy of debian from a registry to a layout", ("",), (None,), "copies",
         nothing, nothing, copy_image("debian"), copy_by_skopeo("debian"), "skopeo", "at most 1"),
    Case("image-copy-big", "image copy of a layer of 1 GiB", ("",), (None,), "copies",
         prepare_big, nothing, copy_image("big"), copy_by_skopeo("big"), "skopeo", "at most 1"),
)  # fmt: skip
