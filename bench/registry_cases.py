"""`cais registry serve` beside Debian's docker-registry, and nginx as the floor for bytes, on the same work in one run.

bench/registry_cases.py [--cases manifest,upload-1g] [--rounds 5] [--seconds 2] [--output FILE]

Needs docker-registry, nginx and wrk (Debian packages docker-registry, nginx-light, wrk). Rounds alternate between the
servers; a figure is a median. Beside what a client sees stands the processor time of the server's processes, which a
busy machine falsifies less. Each server has both processors; Cais asks who it is before each request, docker-registry
is open. The result goes to bench/REGISTRY.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from registry_servers import Cais, DockerRegistry, Nginx, Server

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = 16
LARGE_BYTES = 1 << 30
SMALL_BYTES = 64 << 10
UPLOADS = 160
MANY_TAGS = 100_000
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Figure(NamedTuple):
    """``seen`` is what a client measures (in ``Case.unit``), ``cpu_seconds`` what the server used for one of it."""

    seen: float
    cpu_seconds: float


class Case(NamedTuple):
    """``measure`` is one round on one server. ``more`` is better where it is a rate. ``floor``: nginx does it, too."""

    name: str
    text: str
    unit: str
    more: bool
    measure: Callable[[Server, Shared], Figure]
    floor: bool = False


class Shared(NamedTuple):
    """What is pushed before: digests, and the file of the large blob."""

    seconds: float
    large_file: str
    large: str
    small: str
    manifest: str


def rate(path: Callable[[Shared], str], clients: int = CLIENTS) -> Callable[[Server, Shared], Figure]:
    """Requests a second on kept connections."""

    def measure(server: Server, shared: Shared) -> Figure:
        headers = [word for name, value in server.headers.items() for word in ("-H", f"{name}: {value}")]
        words = ["wrk", "-t1", f"-c{clients}", f"-d{shared.seconds:g}s", *headers, "-H", f"Accept: {MANIFEST}"]
        before = server.cpu_seconds()
        done = subprocess.run(
            [*words, f"http://127.0.0.1:{server.port}{path(shared)}"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        if "Non-2xx" in done:
            raise RuntimeError(f"{server.name}: {done}")
        count = int(re.search(r"(\d+) requests in", done).group(1))  # type: ignore[union-attr]
        seen = float(re.search(r"Requests/sec:\s+([\d.]+)", done).group(1))  # type: ignore[union-attr]
        return Figure(seen, (server.cpu_seconds() - before) / count)

    return measure


def timed(work: Callable[[Server, Shared], None]) -> Callable[[Server, Shared], Figure]:
    def measure(server: Server, shared: Shared) -> Figure:
        before, began = server.cpu_seconds(), time.monotonic()
        work(server, shared)
        return Figure(time.monotonic() - began, server.cpu_seconds() - before)

    return measure


def get_large(server: Server, shared: Shared) -> None:
    path = f"/v2/bench/x/blobs/{shared.large}" if server.registry else "/large"
    connection = server.connect()
    connection.request("GET", path, headers=server.headers)
    answer = connection.getresponse()
    size, buffer = 0, bytearray(1 << 20)
    while count := answer.readinto(buffer):
        size += count
    connection.close()
    if size != LARGE_BYTES:
        raise RuntimeError(f"{server.name} sent {size} bytes")


def upload_large(server: Server, shared: Shared) -> None:
    # Another blob each time: its first bytes differ.
    with open(shared.large_file, "r+b") as file:
        file.write(os.urandom(16))
    digest = digest_of_file(shared.large_file)
    began = time.monotonic()
    with open(shared.large_file, "rb") as file:
        server.push_blob(file, digest, LARGE_BYTES)
    shared_seconds.append(time.monotonic() - began)


shared_seconds: list[float] = []


def upload_small(server: Server, shared: Shared) -> Figure:
    # Made and hashed beforehand: that is no server's work, and would take the processors from it.
    blobs = [os.urandom(SMALL_BYTES) for _ in range(UPLOADS)]
    waiting = [("sha256:" + hashlib.sha256(data).hexdigest(), data) for data in blobs]
    failed: list[BaseException] = []

    def client() -> None:
        connection = server.connect()
        try:
            while waiting:
                try:
                    digest, data = waiting.pop()
                except IndexError:
                    break
                server.push_blob(data, digest, len(data), connection)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    def push(server: Server, shared: Shared) -> None:
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    return timed(push)(server, shared)


def page_of_many(server: Server, shared: Shared) -> None:
    _, _, body = server.ask("GET", "/v2/bench/many/tags/list?n=1000&last=tag-050000")
    if len(json.loads(body)["tags"]) != 1000:
        raise RuntimeError(f"{server.name}: {body[:100]!r}")


def digest_of_file(path: str) -> str:
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def image(config: str, size: int) -> bytes:
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}).encode()


CASES = (
    Case("manifest", "GET of a manifest by tag", "requests/s", True, rate(lambda _: "/v2/bench/x/manifests/1")),
    Case(
        "manifest-digest", "GET of a manifest by digest", "requests/s", True,
        rate(lambda shared: f"/v2/bench/x/manifests/{shared.manifest}"),
    ),
    Case("tags", "list of 20 tags", "requests/s", True, rate(lambda _: "/v2/bench/x/tags/list")),
    Case(
        "blob-4k", "GET of a blob of 4 KiB", "requests/s", True,
        rate(lambda shared: f"/v2/bench/x/blobs/{shared.small}"),
    ),
    Case("blob-1g", "GET of a blob of 1 GiB", "s", False, timed(get_large), floor=True),
    Case("upload-1g", "upload of 1 GiB", "s", False, timed(upload_large)),
    Case("upload-small", f"{UPLOADS} uploads of 64 KiB by {CLIENTS} clients", "s", False, upload_small),
    Case("tags-100k", "a page of 1,000 of 100,000 tags", "s", False, timed(page_of_many)),
)  # fmt: skip


def prepare(servers: list[Server], directory: str, seconds: float, wanted: set[str]) -> Shared:
    large_file = os.path.join(directory, "large")
    with open(large_file, "wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(LARGE_BYTES >> 20):
            file.write(block)
    small = os.urandom(4096)
    config = b"{}"
    manifest = image("sha256:" + hashlib.sha256(config).hexdigest(), len(config))
    shared = Shared(
        seconds, large_file, digest_of_file(large_file), "sha256:" + hashlib.sha256(small).hexdigest(),
        "sha256:" + hashlib.sha256(manifest).hexdigest(),
    )  # fmt: skip
    for server in servers:
        if not server.registry:
            shutil.copy(large_file, os.path.join(server.directory, "files", "large"))
            continue
        for data in (small, config):
            server.push_blob(data, "sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        for number in range(20):
            server.ask("PUT", f"/v2/bench/x/manifests/{number}", manifest, headers={"Content-Type": MANIFEST})
        if "blob-1g" in wanted:
            with open(large_file, "rb") as file:
                server.push_blob(file, shared.large, LARGE_BYTES)
        if "tags-100k" in wanted and isinstance(server, Cais):
            many_tags(server, manifest)
        if isinstance(server, Cais):
            server.sign_in()
    return shared


def many_tags(server: Cais, manifest: bytes) -> None:
    """By the database: pushing them takes longer than all the rest."""
    import sqlite3

    server.ask("POST", f"/v2/bench/many/blobs/uploads/?mount=sha256:{hashlib.sha256(b'{}').hexdigest()}&from=bench/x")
    server.ask("PUT", "/v2/bench/many/manifests/first", manifest, headers={"Content-Type": MANIFEST})
    with contextlib.closing(sqlite3.connect(os.path.join(server.directory, "registry.db"), timeout=60)) as database:
        number, digest = database.execute("SELECT repository_id, digest FROM tags WHERE name = 'first'").fetchone()
        rows = ((number, f"tag-{count:06}", digest, 0.0) for count in range(MANY_TAGS))
        with database:
            database.executemany("INSERT INTO tags VALUES (?, ?, ?, ?)", rows)


def connected_memory(server: Server, shared: Shared, clients: int = 200) -> int:
    """MiB of its largest process after ``clients`` have asked on connections that they keep."""
    connections = [server.connect() for _ in range(clients)]
    for connection in connections:
        server.ask("GET", "/v2/bench/x/tags/list", connection=connection)
    found = server.memory_mib()
    for connection in connections:
        connection.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default=",".join(case.name for case in CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--output", default=os.path.join(HERE, "REGISTRY.md"))
    given = parser.parse_args()
    wanted = set(given.cases.split(","))
    lacking = [program for program in ("docker-registry", "nginx", "wrk") if shutil.which(program) is None]
    if lacking:
        print(f"not installed: {', '.join(lacking)}", file=sys.stderr)
        return 1
    directory = tempfile.mkdtemp(prefix="cais-bench-registry-", dir="/var/tmp")
    servers: list[Server] = []
    try:
        for kind in (Cais, DockerRegistry, Nginx):
            servers.append(kind(directory))  # noqa: PERF401  # what has started is stopped, also where the next fails
        shared = prepare(servers, directory, given.seconds, wanted)
        lines = [measured(case, servers, shared, given.rounds) for case in CASES if case.name in wanted]
        memory = {server.name: connected_memory(server, shared) for server in servers if server.registry}
        text = document(lines, memory)
        print(text)
        with open(given.output, "w") as file:
            file.write(text)
    finally:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            for server in servers:
                stack.callback(server.stop)
    return 0


def measured(case: Case, servers: list[Server], shared: Shared, rounds: int) -> str:
    """The row of one case."""
    found: dict[str, list[Figure]] = {}
    for _ in range(rounds):
        for server in servers:
            if not server.registry and not case.floor:
                continue
            if case.name == "tags-100k" and not isinstance(server, Cais):
                continue
            if case.name == "upload-1g":
                shared_seconds.clear()
            figure = case.measure(server, shared)
            if case.name == "upload-1g":
                figure = figure._replace(seen=shared_seconds[0])
            found.setdefault(server.name, []).append(figure)
            print(f"{case.name} {server.name}: {figure.seen:.4g} {case.unit}", file=sys.stderr)
    seen = {name: statistics.median(figure.seen for figure in figures) for name, figures in found.items()}
    cpu = {name: statistics.median(figure.cpu_seconds for figure in figures) for name, figures in found.items()}
    cells = []
    for name in ("cais", "docker-registry", "nginx"):
        each = " each" if case.more else ""
        cells.append(f"{shown(seen[name], case)}; {cpu[name] * 1000:.3g} ms{each}" if name in seen else "")
    peer = "docker-registry"
    ratio = ""
    if peer in seen:
        better = seen["cais"] / seen[peer] if case.more else seen[peer] / seen["cais"]
        ratio = f"{better:.1f}; {cpu[peer] / max(cpu['cais'], 1e-9):.1f}"
    return f"| {case.text} | {' | '.join(cells)} | {ratio} |"


def shown(value: float, case: Case) -> str:
    return f"{value:.0f}/s" if case.more else f"{value:.3g} s" if value >= 0.1 else f"{value * 1000:.3g} ms"


def document(lines: list[str], memory: dict[str, int]) -> str:
    held = ", ".join(f"{name} {mib} MiB" for name, mib in memory.items())
    return (
        "# The registry server\n\n"
        f"Made by bench/registry_cases.py on {platform.machine()}, {os.cpu_count()} processors, Linux "
        f"{platform.release()}. Each cell: what a client sees; processor time of the server. The last column says how "
        "many times better cais is than docker-registry: seen; in processor time.\n\n"
        "| work | cais | docker-registry | nginx | times |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\nMemory of the largest process with 200 connections: {held}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
