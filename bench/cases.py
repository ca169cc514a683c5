"""The cases: each prepares (untimed), then does one piece of work on one peer and gives its seconds."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

import workloads
from peers import BASE_ENV, Build, Peer
from places import timed

if TYPE_CHECKING:
    from collections.abc import Callable


class Case(NamedTuple):
    """``figures``: what is measured, in order; ``targets``: at most this many times the fastest peer."""

    name: str
    title: str
    figures: tuple[str, ...]
    targets: tuple[float | None, ...]
    needs: str  # an attribute of the peer
    prepare: Callable[[Work], None]
    before: Callable[[Work, Peer], object]
    work: Callable[[Work, Peer], list[float]]
    baseline: Callable[[Work], list[float]] | None = None
    baseline_name: str = ""
    baseline_target: str = ""


class Work:
    """The directory of one run of the benchmark, and what the cases keep there."""

    def __init__(self, directory: str, runtimes: dict[str, str], cais: str) -> None:
        self.directory = directory
        self.runtimes = runtimes
        self.cais = cais
        self.archives: dict[str, str] = {}
        self.counter = itertools.count(1)
        self.context = ""

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    def fresh(self, stem: str) -> str:
        return self.path(f"{stem}-{next(self.counter)}")

    def dockerfile(self, name: str, text: str) -> str:
        return workloads.write(self.path("dockerfiles", name), text)

    def plain(self, argv: list[str]) -> float:
        return timed(argv, None, BASE_ENV, self.path("output")).ok().seconds


def nothing(*_: object) -> None:
    """No preparation."""


# --- builds -----------------------------------------------------------------------------------------------------------
def prepare_cached(work: Work) -> None:
    work.context = work.fresh("cached")
    workloads.write(work.context + "/a.txt", "a\n")
    for number in range(5):
        workloads.write(f"{work.context}/directory/{number}", f"{number}\n")
    work.dockerfile("cached", workloads.CACHED)


def build_cached(work: Work, peer: Peer) -> list[float]:
    wanted = Build(work.context, "bench-cached", work.path("dockerfiles", "cached"), network="host")
    return [peer.build(wanted).ok().seconds]


def prepare_runs(work: Work) -> None:
    work.context = work.fresh("runs")
    os.makedirs(work.context)
    work.dockerfile("runs", workloads.TEN_RUNS)
    work.dockerfile("write", workloads.WRITE_FILES)
    work.dockerfile("parallel", workloads.PARALLEL)


def build_uncached(file: str, network: str) -> Callable[[Work, Peer], list[float]]:
    def work_on(work: Work, peer: Peer) -> list[float]:
        wanted = Build(work.context, f"bench-{file}", work.path("dockerfiles", file), cached=False, network=network)
        return [peer.build(wanted).ok().seconds]

    return work_on


def longest_chain(work: Work) -> list[float]:
    return [work.plain(["sleep", str(workloads.PARALLEL_SECONDS)])]


def prepare_copy(work: Work) -> None:
    """New files for each round: nobody has seen their inodes."""
    if work.context:
        shutil.rmtree(work.context, ignore_errors=True)
    work.context = workloads.small_files(work.fresh("small"))
    work.dockerfile("copy", workloads.COPY_ALL)


def copy_small(work: Work, peer: Peer) -> list[float]:
    wanted = Build(work.context, "bench-copy", work.path("dockerfiles", "copy"))
    cold = peer.build(wanted._replace(cached=False)).ok().seconds
    # The first build with the cache is not measured: buildah keeps no cache of a build without one.
    peer.build(wanted).ok()
    unchanged = peer.build(wanted).ok().seconds
    workloads.write(work.context + "/d7/file-7.txt", os.urandom(512))
    os.sync()
    changed = peer.build(wanted).ok().seconds
    return [cold, unchanged, changed]


def prepare_link(work: Work) -> None:
    prepare_copy(work)
    workloads.write(work.context + "/below", "first\n")
    work.dockerfile("link", workloads.LINK_ALL)


def link_small(work: Work, peer: Peer) -> list[float]:
    """What is below the linked layer changes, and nothing else."""
    wanted = Build(work.context, "bench-link", work.path("dockerfiles", "link"))
    peer.build(wanted).ok()
    workloads.write(work.context + "/below", os.urandom(8).hex())
    os.sync()
    return [peer.build(wanted).ok().seconds]


def prepare_big(work: Work) -> None:
    if not os.path.exists(work.path("big")):
        workloads.big_file(work.path("big"))
    work.context = work.path("big")
    work.dockerfile("copy", workloads.COPY_ALL)


def copy_big(work: Work, peer: Peer) -> list[float]:
    os.utime(work.context + "/big")  # so that no digest is remembered
    wanted = Build(work.context, "bench-big", work.path("dockerfiles", "copy"), cached=False)
    seconds = peer.build(wanted).ok().seconds
    peer.forget("bench-big")
    return [seconds]


def floor_big(work: Work) -> list[float]:
    source, copy = work.path("big", "big"), work.path("big-copy")
    copied = work.plain(["cp", source, copy])
    os.sync()
    summed = work.plain(["python3", "-Sc", SUM, source])
    os.unlink(copy)
    return [copied + summed]


SUM = "import hashlib,sys; print(hashlib.file_digest(open(sys.argv[1],'rb',1<<20),'sha256').hexdigest())"


# --- runs -------------------------------------------------------------------------------------------------------------
def run_true(network: str) -> Callable[[Work, Peer], list[float]]:
    return lambda work, peer: [peer.run("bench/busybox", network).ok().seconds]


def prepare_bundle(work: Work) -> None:
    bundle = work.path("bundle")
    if os.path.exists(bundle):
        return
    os.makedirs(bundle)
    shutil.copytree(workloads.root_file_systems()["busybox"], bundle + "/rootfs", symlinks=True)
    runtime = next(iter(work.runtimes.values()))
    timed([runtime, "spec"], None, BASE_ENV, work.path("output"), bundle).ok()
    with open(bundle + "/config.json", encoding="utf-8") as file:
        config = file.read()
    workloads.write(
        bundle + "/config.json", config.replace('"terminal": true', '"terminal": false').replace('"sh"', '"true"')
    )


def bare_runtime(work: Work) -> list[float]:
    """crun where it works (the same view of the cgroups as Cais gives it), else runc."""
    name = f"bench-{next(work.counter)}"
    script = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    runtime = next(iter(work.runtimes.values()))
    # The shell and its unshare are measured alone and taken off.
    wrapper = ["unshare", "-m", "sh", "-c", script, "sh"]
    alone = work.plain([*wrapper, "true"])
    return [
        work.plain([*wrapper, runtime, "--root", work.path("runtime"), "run", "-b", work.path("bundle"), name]) - alone
    ]


# --- archives and lists -----------------------------------------------------------------------------------------------
def save_debian(work: Work, peer: Peer) -> list[float]:
    path = work.fresh("saved") + ".tar"
    seconds = peer.save("bench/debian", path).ok().seconds
    os.unlink(path)
    return [seconds]


def forget_debian(work: Work, peer: Peer) -> None:
    peer.forget("bench/debian")


def load_debian(work: Work, peer: Peer) -> list[float]:
    load = peer.load(work.archives["debian"]).ok().seconds
    # The first container shows what a lazy load has put off.
    first = peer.run("bench/debian", "none").ok().seconds
    return [load, load + first]


def prepare_many(work: Work) -> None:
    path = work.path("many.tar")
    if not os.path.exists(path):
        layer = workloads.layer_of(workloads.root_file_systems()["busybox"])
        workloads.docker_archive(path, layer, [f"many/image{number}" for number in range(200)])


def load_many(work: Work, peer: Peer) -> None:
    peer.load(work.path("many.tar")).ok()


def list_images(work: Work, peer: Peer) -> list[float]:
    done = peer.list().ok()
    if done.output.count(b"many/image") != 200:
        raise RuntimeError(f"not 200 images in: {done.output[:400]!r}")
    return [done.seconds]


# --- the build cache --------------------------------------------------------------------------------------------------
def fill_cache(work: Work, peer: Peer) -> None:
    """A thousand results in all, in towers of fifty."""
    work.context = work.fresh("empty")
    os.makedirs(work.context)
    for number in range(20):
        text = "FROM bench/busybox\n" + "".join(f"WORKDIR /{number}-{step}\n" for step in range(50))
        file = work.dockerfile(f"tower-{number}", text)
        peer.build(Build(work.context, "bench-tower", file, network="host")).ok()


def look_at_cache(work: Work, peer: Peer) -> list[float]:
    return [peer.do("du", "builder", "du").ok().seconds, peer.do("du", "builder", "prune", "--dry-run").ok().seconds]


CASES = (
    Case("cached", "rebuild of 10 cached instructions", ("",), (1.0,), "builds",
         prepare_cached, build_cached, build_cached),
    Case("runs", "10 tiny RUN, no cache, default network", ("",), (0.33,), "builds",
         prepare_runs, nothing, build_uncached("runs", "")),
    Case("runs-host", "10 tiny RUN, no cache, host network", ("",), (0.33,), "builds",
         prepare_runs, nothing, build_uncached("runs", "host")),
    Case("write", "RUN writing 20,000 files", ("",), (0.7,), "builds",
         prepare_runs, nothing, build_uncached("write", "host")),
    Case("parallel", "8 stages side by side, each waiting 4 s", ("",), (None,), "builds",
         prepare_runs, nothing, build_uncached("parallel", "host"), longest_chain, "the longest chain",
         "at most 1.15 times"),
    Case("copy", "COPY of 20,000 files", ("cold", "nothing changed", "one changed"), (0.5, 0.25, 0.33), "builds",
         prepare_copy, nothing, copy_small),
    Case("link", "COPY --link of 20,000 files onto a changed base", ("",), (0.25,), "builds",
         prepare_link, nothing, link_small),
    Case("big", "COPY of 1 GiB", ("",), (None,), "builds",
         prepare_big, nothing, copy_big, floor_big, "cp + one sha256 pass", "at most 1.3 times"),
    Case("save", "save of debian (170 MB)", ("",), (0.5,), "keeps", nothing, nothing, save_debian),
    Case("load", "load of debian (170 MB)", ("load", "load and first run"), (0.33, None), "keeps",
         nothing, forget_debian, load_debian),
    Case("du", "build cache of 1,000 results", ("du", "prune --dry-run"), (None, None), "foresees",
         nothing, fill_cache, look_at_cache),
    Case("list", "image ls with 200 images", ("",), (1.0,), "keeps", prepare_many, load_many, list_images),
)  # fmt: skip
