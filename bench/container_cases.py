"""The cases of containers that run: exec, many at once, lists, logs, what an idle one costs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from cases import Case, bare_runtime, nothing, prepare_bundle, run_true

if TYPE_CHECKING:
    from cases import Work
    from peers import Peer

IMAGE = "bench/busybox"
MANY = 50
LISTED = 200
LOG_LINES = 10_000_000
LOG_BYTES = LOG_LINES * 100


def begin(peer: Peer, name: str, *command: str, network: str = "none", flags: tuple[str, ...] = ()) -> float:
    words = ["run", "-d", "--name", name, "--network", network, *flags, IMAGE, *command]
    return peer.do("run -d", *words).ok().seconds


def remove(peer: Peer, *names: str) -> None:
    peer.do("rm", "rm", "-f", "-v", *names).ok()


def run_default(_: Work, peer: Peer) -> list[float]:
    """On the network that a container has when nobody asks for one."""
    return [peer.do("run", "run", "--rm", IMAGE, "true").ok().seconds]


def prepare_exec(work: Work, peer: Peer) -> None:
    begin(peer, "bench-exec", "sleep", "900")  # it ends by itself, also where the benchmark was killed


def exec_true(_: Work, peer: Peer) -> list[float]:
    return [peer.do("exec", "exec", "bench-exec", "true").ok().seconds]


SETTLE_SECONDS, STILL_SECONDS = 60, 3


def start_many(work: Work, peer: Peer) -> list[float]:
    """One after another, on the default network; then what they cost while nothing happens, in MiB."""
    networks_settled()
    names = [f"bench-many-{number}" for number in range(MANY)]
    ids = []
    seconds = 0.0
    try:
        for name in names:
            done = peer.do("run -d", "run", "-d", "--name", name, IMAGE, "sleep", "100000").ok()
            seconds += done.seconds
            ids.append(done.output.split()[-1])
        kept = memory_of_holders(ids)
    finally:
        remove(peer, *names)
    return [seconds, kept / (1 << 20)]


def networks_settled() -> None:
    """Returns when the kernel has taken away the network namespaces of those that were before: that goes on behind
    their removal, and holds up whoever makes new ones."""
    deadline = time.monotonic() + SETTLE_SECONDS
    since, known = time.monotonic(), -1
    while time.monotonic() < deadline and time.monotonic() - since < STILL_SECONDS:
        with open("/proc/slabinfo") as file:
            number = next((int(line.split()[1]) for line in file if line.startswith("net_namespace ")), 0)
        if number != known:
            since, known = time.monotonic(), number
        time.sleep(0.2)


def memory_of_holders(ids: list[bytes]) -> int:
    """The own share of memory (PSS), in bytes, of the processes whose command line names one of the containers.

    These are conmon and containerd's shim. What else begins on the machine meanwhile is not counted, nor is what a
    daemon needs more than before.
    """
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                if any(id in words for id in ids):
                    with open(f"/proc/{name}/smaps_rollup", encoding="ascii") as file:
                        total += sum(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
            except (OSError, ProcessLookupError):
                continue
    return total


def create_many(work: Work, peer: Peer) -> None:
    for number in range(LISTED):
        words = ["create", "--name", f"bench-list-{number}", "--network", "none", IMAGE, "true"]
        peer.do("create", *words).ok()


def list_containers(work: Work, peer: Peer) -> list[float]:
    done = peer.do("ps", "ps", "-a").ok()
    if done.output.count(b"bench-list-") != LISTED:
        raise RuntimeError(f"not {LISTED} containers in: {done.output[:400]!r}")
    return [done.seconds]


def write_log(work: Work, peer: Peer) -> None:
    """A gigabyte in lines of 100 bytes."""
    script = f"yes {'x' * 99} | head -n {LOG_LINES}"
    peer.do("run", "run", "-d", "--name", "bench-log", "--network", "none", IMAGE, "sh", "-c", script).ok()
    peer.do("wait", "wait", "bench-log").ok()


def read_log(work: Work, peer: Peer) -> list[float]:
    """All of it into a file; what was printed is counted, and not read back by the benchmark."""
    from places import timed

    output = os.path.join(work.directory, "log-output")
    argv = ["sh", "-c", f'"$@" > {output}', "sh", *peer.command("logs", "bench-log")]
    seconds = timed(argv, peer.place, peer.env, os.path.join(peer.work, "output")).ok().seconds
    size = os.path.getsize(output)
    os.unlink(output)
    if size != LOG_BYTES:
        raise RuntimeError(f"the log has {size} bytes instead of {LOG_BYTES}")
    return [seconds]


def copy_log(work: Work) -> list[float]:
    """The floor: as many bytes copied from one file to another."""
    source, copy = work.path("log-source"), work.path("log-copy")
    if not os.path.exists(source):
        work.plain(["sh", "-c", f"yes {'x' * 99} | head -n {LOG_LINES} > {source}"])
    seconds = work.plain(["cp", source, copy])
    os.unlink(copy)
    return [seconds]


CONTAINER_CASES = (
    Case("run", "run --rm --network none busybox true", ("",), (0.6,), "runs",
         prepare_bundle, run_true("none"), run_true("none"), bare_runtime, "bare runtime", "at most 80 ms above"),
    Case("run-default", "run --rm busybox true (default network)", ("",), (0.6,), "runs",
         nothing, run_default, run_default),
    Case("exec", "exec true", ("",), (0.5,), "runs", nothing, prepare_exec, exec_true),
    Case("start-many", f"{MANY} detached containers, default network", ("start", "memory while idle, MiB"), (0.5, 1.0),
         "runs", nothing, nothing, start_many),
    Case("ps", f"ps -a with {LISTED} containers", ("",), (1.0,), "runs", nothing, create_many, list_containers),
    Case("logs", "logs of 1 GB", ("",), (None,), "runs", nothing, write_log, read_log, copy_log, "cp of 1 GB",
         "at disk speed"),
)  # fmt: skip
