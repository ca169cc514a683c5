"""What stands around the application: request ids, the access log, counts, health and readiness; on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from cais.errors import CaisError, Unavailable  # noqa: E402
from cais.registry.access_log import AccessLog, Answered  # noqa: E402
from cais.registry.counts import OTHERS, Counts, exposition, route_of  # noqa: E402
from cais.registry.observed import REQUEST_ID, WHO, Observed  # noqa: E402
from cais.registry.readiness import Readiness  # noqa: E402

Message = dict[str, Any]


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answers with the request's id; reads a body where there is one; fails, or breaks off, where the path says so."""
    if scope["type"] != "http":
        return
    if scope["method"] == "PUT":
        while (await receive()).get("more_body"):
            pass
    scope[WHO] = "ann"
    if scope["path"] == "/fails":
        raise RuntimeError("on purpose")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20")]})
    if scope["path"] == "/breaks":
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        raise asyncio.CancelledError
    await send({"type": "http.response.body", "body": scope[REQUEST_ID][:20].ljust(20).encode()})


class Served:
    """A server in a thread, with its log and counts."""

    def __init__(self, log: Path) -> None:
        self.log_path = log
        self.problem = ""
        self.asked = 0
        self.counts = Counts()
        readiness = Readiness({"blobs": lambda: None, "database": self._ask_database}, lambda line: None)
        self.observed = Observed(
            application, log=AccessLog(str(log)), counts=self.counts, failing=readiness.failing,
            metrics_path="/metrics",
        )  # fmt: skip
        config = uvicorn.Config(self.observed, log_level="critical", access_log=False, lifespan="off", loop="uvloop")
        self.server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, args=([listener],))
        self.thread.start()

    def _ask_database(self) -> None:
        self.asked += 1
        if self.problem:
            raise Unavailable(self.problem)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
        return connection.getresponse()

    def logged(self, count: int) -> list[dict[str, Any]]:
        """The lines of the log, when there are so many."""
        deadline = time.monotonic() + 10
        while len(lines := self.log_path.read_text().splitlines()) < count:
            assert time.monotonic() < deadline, lines
            time.sleep(0.005)
        return [json.loads(line) for line in lines]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    it = Served(tmp_path / "access.log")
    yield it
    it.server.should_exit = True
    it.thread.join(20)


def test_a_sane_request_id_is_taken_and_another_is_replaced(served: Served) -> None:
    answer = served.ask("/v2/", X_Request_Id="trace-7f.1")
    assert answer.headers["X-Request-Id"] == "trace-7f.1"
    assert answer.read().strip() == b"trace-7f.1"
    ids = set()
    for bad in ("", "a" * 101, "with space", 'quote"', "new\tline"):
        given = served.ask("/v2/", X_Request_Id=bad).headers["X-Request-Id"]
        assert given != bad and len(given) > 10
        ids.add(given)
    assert len(ids) == 5
    assert {line["id"] for line in served.logged(6)} == ids | {"trace-7f.1"}


def test_a_line_says_what_happened_and_no_secret(served: Served) -> None:
    served.ask(
        "/v2/library/app/blobs/uploads/?digest=sha256:abc&token=hidden", "PUT", b"x" * 1000,
        Authorization="Bearer hidden", User_Agent='evil"\\agent', Cookie="hidden",
    ).read()  # fmt: skip
    (line,) = served.logged(1)
    text = served.log_path.read_text()
    assert "hidden" not in text and "sha256:abc" not in text
    assert line["method"] == "PUT" and line["path"] == "/v2/library/app/blobs/uploads/"
    assert (line["status"], line["received"], line["sent"]) == (200, 1000, 20)
    assert line["who"] == "ann" and line["agent"] == 'evil"\\agent' and line["client"] == "127.0.0.1"
    assert 0 < line["seconds"] < 10 and line["time"].endswith("Z") and "T" in line["time"]
    assert "broken" not in line


def test_a_failure_and_an_answer_that_breaks_off_are_logged_as_such(served: Served) -> None:
    assert served.ask("/fails").status == 500
    assert served.logged(1)[0]["status"] == 500
    served.ask("/breaks")
    line = served.logged(2)[1]
    assert line["broken"] is True and line["sent"] == 5


def test_alive_ready_and_not_ready(served: Served) -> None:
    assert served.ask("/healthz").status == 200
    for _ in range(5):
        answer = served.ask("/readyz")
        assert (answer.status, json.loads(answer.read())) == (200, {"status": "ready"})
    assert served.asked == 1, "an answer of readiness holds for a moment"
    served.problem = "secret"
    deadline = time.monotonic() + 10
    while (answer := served.ask("/readyz")).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (answer.status, json.loads(answer.read())["failing"]) == (503, ["database"])
    assert served.ask("/healthz").status == 200, "it is alive all the same"
    served.observed.stopping = True
    assert json.loads(served.ask("/readyz").read())["failing"] == ["stopping"]
    assert served.log_path.read_text() == "", "probes are not logged"


def test_a_part_that_does_not_answer_is_named_and_asked_by_one_thread() -> None:
    hangs, goes_on = threading.Semaphore(0), threading.Event()

    def hang() -> None:
        hangs.release()
        goes_on.wait()

    async def ask() -> list[str]:
        try:
            first = await readiness.failing()
            assert first == await readiness.failing()
            return first
        finally:
            goes_on.set()

    told: list[str] = []
    readiness = Readiness({"blobs": hang, "database": lambda: None}, told.append, timeout_seconds=1)
    assert asyncio.run(ask()) == ["blobs"]
    assert hangs.acquire(blocking=False) and not hangs.acquire(blocking=False), "asked once, while it hangs"


def test_the_log_says_why_a_part_fails_and_the_answer_does_not() -> None:
    def fail() -> None:
        raise Unavailable("no route to db.internal", hint="Look at the network.")

    told: list[str] = []
    readiness = Readiness({"database": fail, "blobs": lambda: None}, told.append)
    assert asyncio.run(readiness.failing()) == ["database"]
    assert told == ["not ready: database: no route to db.internal Look at the network."]


def test_metrics_are_what_was_counted(served: Served) -> None:
    for _ in range(3):
        served.ask("/v2/app/manifests/latest").read()
    served.ask("/v2/app/blobs/uploads/1", "PUT", b"12345").read()
    served.counts.add("gc_runs")
    served.logged(4)
    text = served.ask("/metrics").read().decode()
    labels = '{method="GET",route="manifest",status="200"}'
    assert f"cais_registry_request_seconds_count{labels} 3.0" in text
    assert 'cais_registry_received_bytes_total{method="PUT",route="upload",status="200"} 5.0' in text
    assert "cais_registry_gc_runs_total 1.0" in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/", "base"), ("/v2", "base"), ("/v2/_catalog", "catalog"), ("/token", "token"), ("/", "other"),
        ("/v2/a/b/c/manifests/1", "manifest"), ("/v2/a/blobs/sha256:1", "blob"), ("/v2/a/blobs/uploads/", "upload"),
        ("/v2/a/blobs/uploads/1", "upload"), ("/v2/a/tags/list", "tags"), ("/v2/a/referrers/sha256:1", "referrers"),
        ("/v2/nothing", "other"), ("/v2/a/b/c/d", "other"),
    ],
)  # fmt: skip
def test_routes_are_a_small_set(path: str, route: str) -> None:
    assert route_of(path) == route


def test_workers_are_added_up_and_those_that_ended_still_count(tmp_path: Path) -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            counts = Counts(str(tmp_path))
            counts.answered("GET", "blob", 200, 0.004, 0, 100)
            counts.answered("BREW", "blob", 200, 9999, 0, 0)
            counts.add("gc_freed_bytes", 10)
            counts.set("gc_last_run_timestamp_seconds", os.getpid())
            counts.running = 1
            counts.publish()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    counts = Counts(str(tmp_path))
    counts.answered("GET", "blob", 200, 0.3, 0, 100)
    text = exposition(counts)[0].decode()
    labels = 'method="GET",route="blob",status="200"'
    assert f"cais_registry_request_seconds_count{{{labels}}} 3.0" in text
    assert f'cais_registry_request_seconds_bucket{{le="0.005",{labels}}} 2.0' in text
    assert f'cais_registry_request_seconds_bucket{{le="0.5",{labels}}} 3.0' in text
    assert f"cais_registry_sent_bytes_total{{{labels}}} 300.0" in text
    assert 'cais_registry_request_seconds_bucket{le="600.0",method="other",route="blob",status="200"} 0.0' in text
    assert "cais_registry_gc_freed_bytes_total 20.0" in text
    assert f"cais_registry_gc_last_run_timestamp_seconds {float(max(children))}" in text
    assert "cais_registry_requests_running 0.0" in text, "those of the dead do not run"
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".new")]


def test_every_other_count_is_described() -> None:
    text = exposition(Counts())[0].decode()
    for name, (is_counter, said) in OTHERS.items():
        assert f"# HELP cais_registry_{name}{'_total' if is_counter else ''} {said}" in text


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    done = Answered("1", "", "GET", "/" * 5000, 200, 0, 0, 0.1, "", "a" * 5000, True)
    full = AccessLog("/dev/full")
    full.write(done)
    assert full.lost == 1
    full.close()
    AccessLog("").write(done)
    log = AccessLog(str(tmp_path / "log"))
    log.write(done)
    assert (tmp_path / "log").stat().st_size < 2000, "one line is written at once, by several processes"
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0
    with pytest.raises(CaisError, match="open the access log"):
        AccessLog(str(tmp_path / "none" / "log"))
