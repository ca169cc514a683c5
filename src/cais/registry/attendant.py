"""The process beside the workers: it collects what nothing needs at its interval, and shows Prometheus the metrics on
an address of their own. It is a process, so that what it does takes no time from the requests of any worker."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cais.catalog.catalog import stores
from cais.catalog.gc import Collector
from cais.errors import CaisError
from cais.registry.counts import Counts, exposition
from cais.registry.settings import of_catalog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from cais.catalog.gc import Report
    from cais.registry.settings import Settings

_LOOK_SECONDS = 60.0  # whether the interval is over: another replica may have collected in between
_NICE = 5
_STRAYS_SECONDS = 86400.0  # only killed processes leave them, and whoever looks for them lists a whole bucket
_IDLE_SECONDS = 30


def attend(settings: Settings, metrics: socket.socket | None, counts_directory: str, parent: int) -> int:
    """Until SIGTERM, or until the process ``parent`` is gone; returns the exit code."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    counts = Counts(counts_directory)
    if metrics is not None:
        threading.Thread(target=_MetricsServer(metrics, counts).serve_forever, daemon=True).start()
    pause = min(settings.gc_interval, _LOOK_SECONDS) if settings.gc_interval else _LOOK_SECONDS
    while not stopping.wait(min(pause, 1.0)) and os.getppid() == parent:
        if settings.gc_interval:
            _collect(settings, counts, stopping)
            counts.publish()
            for _ in range(int(pause)):
                if stopping.wait(1.0) or os.getppid() != parent:
                    break
    if os.getppid() != parent and counts_directory:
        shutil.rmtree(counts_directory, ignore_errors=True)  # it was killed, and nobody else would
    return 0


def _collect(settings: Settings, counts: Counts, stopping: threading.Event) -> None:
    began = time.monotonic()
    try:
        wanted = of_catalog(settings)
        with stores(wanted) as (database, blobs):
            collector = Collector(database, blobs, wanted.policy, stop=stopping.is_set)
            report = collector.run(every_seconds=settings.gc_interval, strays_every_seconds=_STRAYS_SECONDS)
    except CaisError as error:
        counts.add("gc_failures")
        sys.stderr.write(f"garbage collection: {error.message}\n")
        return
    if report is not None:
        _count(counts, report, time.monotonic() - began)


def _count(counts: Counts, report: Report, seconds: float) -> None:
    counts.add("gc_runs")
    counts.add("gc_removed_manifests", report.manifests)
    counts.add("gc_removed_blobs", report.blobs)
    counts.add("gc_removed_uploads", report.uploads)
    counts.add("gc_freed_bytes", report.freed_bytes)
    counts.set("gc_last_run_seconds", seconds)
    counts.set("gc_last_run_timestamp_seconds", time.time())


class _MetricsServer(ThreadingHTTPServer):
    """On a socket that listens already."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, counts: Counts) -> None:
        super().__init__(listener.getsockname(), _MetricsHandler, bind_and_activate=False)
        self.socket.close()
        listener.setblocking(True)
        self.socket = listener
        self.counts = counts


class _MetricsHandler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        assert isinstance(self.server, _MetricsServer)
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        body, kind = exposition(self.server.counts)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Nobody wants a line for each scrape."""
