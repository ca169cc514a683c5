"""A registry loses nothing: killed in the middle of pushes, and collecting beside them.

Short runs; with CAIS_LONG_TESTS long ones.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from cais.catalog.catalog import open_blobs, prepare, stores
from cais.catalog.check import Check
from cais.catalog.gc import Collector
from cais.catalog.settings import CatalogSettings, Policy
from cais.records.database import Database
from registry_process import RegistryProcess, digest_of, image, registry_process

LONG = bool(os.environ.get("CAIS_LONG_TESTS"))
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
_PATIENCE_SECONDS = 60


def family(process: int) -> list[int]:
    """A process and its children."""
    return [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


class Pusher(threading.Thread):
    """Pushes images one after the other; ``acknowledged`` are the layers of each, by tag."""

    def __init__(self, number: int, address: Callable[[], RegistryProcess | None], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self._server, self._ending = number, address, stop
        self.acknowledged: dict[str, list[bytes]] = {}
        self.broken = 0

    def run(self) -> None:
        number = 0
        while not self._ending.is_set():
            server = self._server()
            if server is None:
                time.sleep(0.01)
                continue
            number += 1
            tag = f"t{self.number}-{number}"
            layers = [os.urandom(random.choice((10, 5000, 300_000))) for _ in range(2)]
            try:
                for layer in (CONFIG, *layers):
                    self._push(server, layer)
                server.push_manifest("app", tag, image(CONFIG, *layers))
                self.acknowledged[tag] = layers
            except (OSError, HTTPException, AssertionError, KeyError):
                self.broken += 1

    def _push(self, server: RegistryProcess, data: bytes) -> None:
        """In one request, or in pieces."""
        if random.random() < 0.5:
            server.push_blob("app", data)
            return
        where = server.request("POST", "/v2/app/blobs/uploads/").headers["location"]
        half = len(data) // 2
        for start, piece in ((0, data[:half]), (half, data[half:])):
            headers = {"Content-Range": f"{start}-{start + len(piece) - 1}", "Content-Length": str(len(piece))}
            done = server.request("PATCH", where, piece, headers)
            assert done.status == 202
            where = done.headers["location"]
        assert server.request("PUT", f"{where}?digest={digest_of(data)}").status == 201


def test_killed_in_the_middle_of_pushes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    current: list[RegistryProcess | None] = [None]
    stop = threading.Event()
    pushers = [Pusher(number, lambda: current[0], stop) for number in range(4)]
    for pusher in pushers:
        pusher.start()
    try:
        for _ in range(30 if LONG else 3):
            with registry_process(root, "--workers", "2") as server:
                current[0] = server
                before = sum(len(pusher.acknowledged) for pusher in pushers)
                deadline = time.monotonic() + _PATIENCE_SECONDS
                while sum(len(pusher.acknowledged) for pusher in pushers) < before + 5:
                    assert time.monotonic() < deadline, server.log()
                    time.sleep(0.01)
                time.sleep(random.uniform(0, 0.2))
                current[0] = None
                for process in family(server.process.pid):
                    os.kill(process, signal.SIGKILL)
                server.process.wait()
    finally:
        stop.set()
        for pusher in pushers:
            pusher.join()
    settings = CatalogSettings(str(root))
    with stores(settings) as (database, blobs):
        assert [fault.what for fault in Check(database, blobs).run() if not fault.harmless] == []
    with registry_process(root, "--workers", "1") as server:
        connection = server.connect()
        for pusher in pushers:
            for tag, layers in pusher.acknowledged.items():
                manifest = server.request("GET", f"/v2/app/manifests/{tag}", connection=connection)
                assert manifest.status == 200, tag
                for layer, descriptor in zip(layers, manifest.json["layers"], strict=True):
                    path = f"/v2/app/blobs/{descriptor['digest']}"
                    assert server.request("GET", path, connection=connection).body == layer
        connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """ "" for SQLite in the root."""
    if request.param == "sqlite":
        yield ""
        return
    yield request.getfixturevalue("postgres").database()


GRACE_SECONDS = 3.0
SHARED = [os.urandom(500) for _ in range(60)]  # each comes again after about the time of grace


class Client(threading.Thread):
    """As docker pushes: asks for each layer, sends what is not there, then the manifest; and deletes, now and then.

    ``lost`` says what must not be.
    """

    def __init__(self, name: str, server: RegistryProcess, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.repository, self._server, self._ending = name, server, stop
        self.images: dict[str, list[bytes]] = {}
        self.lost: list[str] = []
        self.pushed = 0

    def run(self) -> None:
        connection = self._server.connect()
        try:
            while not self._ending.is_set():
                if len(self.images) > 3:
                    self._look_and_delete(connection)
                else:
                    self._push(connection)
        except Exception as error:
            self.lost.append(repr(error))
        finally:
            connection.close()

    def _push(self, connection: object) -> None:
        began = time.monotonic()
        layers = random.sample(SHARED, 3)
        for data in (CONFIG, *layers):
            path = f"/v2/{self.repository}/blobs/"
            found = self._server.request("HEAD", path + digest_of(data), connection=connection)  # type: ignore[arg-type]
            if found.status == 404:
                begun = self._server.request(
                    "POST",
                    f"{path}uploads/?mount={digest_of(data)}&from=other",
                    connection=connection,  # type: ignore[arg-type]
                )
                if begun.status == 202:
                    target = f"{begun.headers['location']}?digest={digest_of(data)}"
                    assert self._server.request("PUT", target, data, connection=connection).status == 201  # type: ignore[arg-type]
        document = image(CONFIG, *layers, annotations={"number": str(self.pushed)})
        content = json.dumps(document).encode()
        self._ending.wait(random.choice((0, 0, GRACE_SECONDS * 0.4)))  # another layer, by a slow line
        done = self._server.request(
            "PUT", f"/v2/{self.repository}/manifests/t{self.pushed}", content,
            {"Content-Type": document["mediaType"]}, connection,  # type: ignore[arg-type]
        )  # fmt: skip
        if done.status == 201:
            self.images[f"t{self.pushed}"] = layers
            self.pushed += 1
        elif time.monotonic() - began < GRACE_SECONDS * 0.7:
            self.lost.append(f"a push of {time.monotonic() - began:.2f} s was refused: {done}")

    def _look_and_delete(self, connection: object) -> None:
        tag = random.choice(list(self.images))
        layers = self.images.pop(tag)
        manifest = self._server.request("GET", f"/v2/{self.repository}/manifests/{tag}", connection=connection)  # type: ignore[arg-type]
        if manifest.status != 200:
            self.lost.append(f"{tag}: {manifest}")
            return
        for layer in (CONFIG, *layers):
            path = f"/v2/{self.repository}/blobs/{digest_of(layer)}"
            if self._server.request("GET", path, connection=connection).body != layer:  # type: ignore[arg-type]
                self.lost.append(f"{tag}: {digest_of(layer)}")
        digest = manifest.headers["docker-content-digest"]
        path = f"/v2/{self.repository}/manifests/{digest}"
        assert self._server.request("DELETE", path, connection=connection).status == 202  # type: ignore[arg-type]


def test_collecting_beside_pushes(tmp_path: Path, database_url: str) -> None:
    """Time goes by faster for what nobody relies on any more: links are made old at random."""
    root = tmp_path / "root"
    settings = CatalogSettings(str(root), database_url, policy=Policy(GRACE_SECONDS, 1.0, 60.0, 2))
    prepare(settings)
    flags = ["--workers", "2", "--set", "gc.interval=0", "--set", f"gc.grace={GRACE_SECONDS}s"]
    if database_url:
        flags += ["--set", f"database.url={database_url}"]
    stop = threading.Event()
    with registry_process(root, *flags) as server:
        clients = [Client(name, server, stop) for name in ("a", "b", "c", "d", "e", "other")]
        for client in clients:
            client.start()
        removed = runs = 0
        with closing(open_blobs(settings)) as blobs, closing(Database(settings.database_url)) as database:
            until = time.monotonic() + (300 if LONG else 8)
            while time.monotonic() < until or removed == 0:
                assert time.monotonic() < until + _PATIENCE_SECONDS, "nothing was removed"
                report = Collector(database, blobs, settings.policy).run(strays=False)
                assert report is not None
                removed, runs = removed + report.links, runs + 1
            stop.set()
            for client in clients:
                client.join()
            assert [lost for client in clients for lost in client.lost] == []
            assert min(client.pushed for client in clients) > 0 and runs > 3
            assert [fault.what for fault in Check(database, blobs).run()] == []
