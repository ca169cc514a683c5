"""The same work on Cais and on each installed peer, alternating in one run; writes bench/RESULTS.md.

bench/run.py [--cases cached,run] [--peers cais,podman] [--repeats 5] [--peer-root DIR] [--output FILE]

Needs root (the peers get mount and network namespaces of their own) and nothing beyond the standard library. A peer
that takes more than twice as long as the fastest is measured once in slow cases, and marked so. --peer-root names
the root directory of a newer system whose docker (with buildx), podman and buildah are compared too:

    mmdebstrap --variant=minbase --aptopt='APT::Install-Recommends "false"' \\
        --include=docker.io,docker-cli,docker-buildx,podman,buildah,crun,iptables,nftables,netavark \\
        trixie /var/lib/cais-bench-peers
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

import workloads
from cache_cases import CACHE_CASES
from cases import CASES as IMAGE_CASES
from cases import Case, Work
from container_cases import CONTAINER_CASES
from distribution_cases import DISTRIBUTION_CASES
from peers import Buildah, Cais, Containerd, Docker, Peer, Podman, found_in
from places import Place
from report import Table, cell, document

if TYPE_CHECKING:
    from collections.abc import Iterable

CASES = (*IMAGE_CASES, *CACHE_CASES, *CONTAINER_CASES, *DISTRIBUTION_CASES)
HERE = os.path.dirname(os.path.abspath(__file__))
SLOW_SECONDS = 3.0
SLOW_RATIO = 2.0


def find_peers(peers: list[Peer], places: list[Place], work: str, wanted: set[str], peer_root: str, cais: str) -> None:
    """Fills ``peers`` with every tool that is wanted and installed, here or in the other system; and ``places``."""
    found: list[Peer] = [Cais(work, None, cais)] if os.access(cais, os.X_OK) else []
    for root in filter(None, ("/", peer_root)):
        area = work if root == "/" else os.path.join(work, "newer")
        place = Place(root, shared=(work,) if root != "/" else ())
        places.append(place)
        suffix = "" if root == "/" else " (newer)"
        before = len(found)
        if found_in(root, "dockerd"):
            # The client of the daemon's own release: a newer one has neither its classic builder nor its BuildKit.
            client = "/usr/bin/docker" if os.path.exists(root + "/usr/bin/docker") else "docker"
            found.append(Docker(area, place, "classic", client))
            plugin = os.path.exists(root + "/usr/libexec/docker/cli-plugins/docker-buildx") or os.path.exists(
                root + "/usr/lib/docker/cli-plugins/docker-buildx"
            )
            found.append(Docker(area, place, "buildx" if plugin else "BuildKit", client))
            if plugin:
                # A daemon beside the other wants a network of its own.
                places.append(Place(root, shared=(work,) if root != "/" else ()))
                found.append(Containerd(area, places[-1], client))
        if found_in(root, "podman"):
            found.append(Podman(area, place))
        if found_in(root, "buildah"):
            found.append(Buildah(area, place))
        for peer in found[before:]:
            peer.name += suffix
    peers.extend(peer for peer in found if not wanted or any(peer.name.startswith(name) for name in wanted))


def measure(case: Case, work: Work, peers: list[Peer], repeats: int, patient: bool) -> Table:
    """The table of one case: for each figure and peer, the seconds of each round."""
    table = Table(case)
    work.context = ""
    case.prepare(work)
    able = [peer for peer in peers if getattr(peer, case.needs)]
    for peer in list(able):
        try:
            case.before(work, peer)
        except (RuntimeError, OSError) as error:
            table.failed[peer.name] = str(error)
            able.remove(peer)
    for number in range(repeats):
        if number and case.name == "copy":
            case.prepare(work)
        random.Random(number).shuffle(able)
        for peer in list(able):
            if number and not patient and table.too_slow(peer.name, SLOW_SECONDS, SLOW_RATIO):
                continue
            if number and case.name == "load":
                case.before(work, peer)
            os.sync()
            try:
                seconds = case.work(work, peer)
            except (RuntimeError, OSError) as error:
                table.failed[peer.name] = str(error)
                able.remove(peer)
                print(f"  {case.name}: {peer.name} failed: {error}", file=sys.stderr)
                continue
            table.add(peer.name, seconds)
            print(f"  {case.name} {number + 1}/{repeats} {peer.name}: {cell(seconds)}", flush=True)
        if case.baseline is not None:
            os.sync()
            table.add(case.baseline_name, case.baseline(work))
    return table


def versions(peers: Iterable[Peer], runtimes: dict[str, str]) -> dict[str, str]:
    told = {peer.name: peer.version() for peer in peers}
    for name, path in runtimes.items():
        told[name] = os.popen(f"{path} --version").readline().strip()
    return told


def stop(number: int, _: object) -> None:
    """Told to end: what was started ends with it, and nothing interrupts that."""
    ignore_signals()
    raise SystemExit(128 + number)


def ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--cases", default="", help=f"which, with commas between (default all: {','.join(names)})")
    parser.add_argument(
        "--peers", default="", help="which, by the beginning of their names (default: all that are installed)"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patient", action="store_true", help="measure slow peers as often as the others")
    parser.add_argument("--peer-root", default="", help="root directory of another system with newer peers")
    parser.add_argument("--cais", default=os.path.join(HERE, "..", ".venv", "bin", "cais"))
    parser.add_argument("--output", default=os.path.join(HERE, "RESULTS.md"))
    parser.add_argument("--work", default="/var/tmp", help="where the storage of all peers goes (20 GB)")
    chosen = parser.parse_args()
    wanted = [name for name in chosen.cases.split(",") if name]
    unknown = set(wanted) - set(names)
    if unknown:
        parser.error(f"unknown case: {', '.join(sorted(unknown))} (there are: {', '.join(names)})")
    if os.geteuid() != 0:
        parser.error("needs root: the peers get mount and network namespaces of their own")
    directory = tempfile.mkdtemp(prefix="cais-bench-", dir=chosen.work)
    runtimes = {name: path for name in ("crun", "runc") if (path := shutil.which(name))}
    work = Work(directory, runtimes, os.path.abspath(chosen.cais))
    peers: list[Peer] = []
    places: list[Place] = []
    try:
        kinds = set(filter(None, chosen.peers.split(",")))
        find_peers(peers, places, directory, kinds, chosen.peer_root.rstrip("/"), work.cais)
        for name, root in workloads.root_file_systems().items():
            archive = work.path(f"{name}.tar")
            work.archives[name] = workloads.docker_archive(archive, workloads.layer_of(root), [f"bench/{name}"])
        for peer in list(peers):
            try:
                peer.start()
                if peer.name.startswith("docker classic"):
                    continue  # its daemon gets them through the other builder
                for archive in work.archives.values():
                    peer.load(archive).ok()
            except (RuntimeError, OSError) as error:
                print(f"bench: {peer.name} is left out: {error}", file=sys.stderr)
                peers.remove(peer)
        tables = []
        told = versions(peers, runtimes)
        text = ""
        for case in CASES:
            if not wanted or case.name in wanted:
                print(f"{case.name}: {case.title}", flush=True)
                tables.append(measure(case, work, peers, chosen.repeats, chosen.patient))
                # After each case, so that a run that is stopped has not been for nothing.
                text = document(tables, peers, told, chosen.repeats, machine(), datetime.date.today().isoformat())
                workloads.write(os.path.abspath(chosen.output), text)
        print(text)
    finally:
        ignore_signals()
        with contextlib.ExitStack() as stack:  # what fails keeps nothing of the rest from its end
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            for place in places:
                stack.callback(place.leave)
            for peer in peers:
                stack.callback(peer.stop)
    return 0


def machine() -> str:
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) >> 20
    return (
        f"{os.cpu_count()} virtual cores, {memory} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {platform.freedesktop_os_release()['PRETTY_NAME']}"
    )


if __name__ == "__main__":
    sys.exit(main())
