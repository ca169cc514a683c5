"""What a registry counts, and how Prometheus reads it.

Each worker process counts in a plain table, which costs a request less than a microsecond, and puts the table into a
directory of all workers about once a second. Whoever is asked for the metrics adds up the tables: also those of
workers that have ended, because a counter never falls.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from prometheus_client.core import CollectorRegistry, Metric

BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)
# Requests that are over: count, seconds, received bytes, sent bytes, and how many took up to each bound.
_COUNT, _SECONDS, _RECEIVED, _SENT, _BUCKETS = 0, 1, 2, 3, 4
_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"))
_ROUTES = {
    "manifests": "manifest", "blobs": "blob", "uploads": "upload", "tags": "tags", "referrers": "referrers",
}  # fmt: skip
# What else is counted, by name: whether it is a counter (else a gauge: the last value), and what it is.
OTHERS = {
    "log_lines_lost": (True, "Lines of the access log that could not be written"),
    "gc_runs": (True, "Runs of the collector that came to their end"),
    "gc_failures": (True, "Runs of the collector that an error ended"),
    "gc_removed_manifests": (True, "Manifests that the collector has removed from a repository"),
    "gc_removed_blobs": (True, "Blobs that the collector has removed from the store"),
    "gc_freed_bytes": (True, "Bytes that the collector has freed"),
    "gc_removed_uploads": (True, "Unfinished uploads that the collector has removed"),
    "gc_last_run_timestamp_seconds": (False, "When the collector last came to its end"),
    "gc_last_run_seconds": (False, "How long that run took"),
}


def route_of(path: str) -> str:
    """What kind of thing a path is about; a small closed set, whatever clients ask for."""
    if path.startswith("/v2/"):
        parts = path.rsplit("/", 3)
        if len(parts) == 4:
            for part in (parts[2], parts[1]):  # .../blobs/DIGEST, and .../blobs/uploads/ID
                if part in _ROUTES:
                    return "upload" if parts[3] == "uploads" or part == "uploads" else _ROUTES[part]
        return "base" if path == "/v2/" else "catalog" if path == "/v2/_catalog" else "other"
    return "base" if path == "/v2" else "token" if path == "/token" else "other"


class Counts:
    """The table of one process, published in ``directory`` ("": there is one process, and nothing is published)."""

    def __init__(self, directory: str = "") -> None:
        self._directory = directory
        self._requests: dict[tuple[str, str, int], list[int | float]] = {}
        self._others: dict[str, float] = {}
        self._changed = False
        self.running = 0

    def answered(
        self, method: str, route: str, status: int, seconds: float, received_bytes: int, sent_bytes: int
    ) -> None:
        """One request is over."""
        key = (method if method in _METHODS else "other", route, status)
        row = self._requests.get(key)
        if row is None:
            row = self._requests[key] = [0, 0.0, 0, 0, *([0] * (len(BOUNDS_SECONDS) + 1))]
        row[_COUNT] += 1
        row[_SECONDS] += seconds
        row[_RECEIVED] += received_bytes
        row[_SENT] += sent_bytes
        row[_BUCKETS + bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self._changed = True

    def add(self, name: str, amount: float = 1) -> None:
        """Counts ``amount`` of something of ``OTHERS``."""
        self._others[name] = self._others.get(name, 0) + amount
        self._changed = True

    def set(self, name: str, value: float) -> None:
        """Notes the value of a gauge of ``OTHERS``."""
        self._others[name] = value
        self._changed = True

    def table(self) -> dict[str, Any]:
        """As it is published."""
        return {
            "requests": [[*key, *row] for key, row in self._requests.items()],
            "others": self._others,
            "running": self.running,
        }

    def publish(self) -> None:
        """Puts the table where all workers' are, if it has changed. What cannot be written is written the next time."""
        if not self._directory or not self._changed:
            return
        path = os.path.join(self._directory, f"{os.getpid()}.json")
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(self.table(), file)
            os.replace(path + ".new", path)
        except OSError:
            return
        self._changed = False

    def tables(self) -> Iterator[dict[str, Any]]:
        """Those of all workers; this process's own as it is now."""
        yield self.table()
        own = f"{os.getpid()}.json"
        for name in os.listdir(self._directory) if self._directory else ():
            if name.endswith(".json") and name != own:
                with open(os.path.join(self._directory, name), encoding="utf-8") as file:
                    table = json.load(file)
                if not os.path.exists(f"/proc/{name[:-5]}"):
                    table["running"] = 0
                yield table

    def collect(self) -> Iterator[Metric]:
        """The sum of all tables, as Prometheus's client library wants it of a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests: dict[tuple[str, str, str], list[int | float]] = {}
        others: dict[str, float] = {}
        running = 0
        for table in self.tables():
            running += table["running"]
            for method, route, status, *numbers in table["requests"]:
                row = requests.setdefault((method, route, str(status)), [0] * len(numbers))
                row[:] = [a + b for a, b in zip(row, numbers, strict=True)]
            for name, value in table["others"].items():
                others[name] = others.get(name, 0) + value if OTHERS[name][0] else max(others.get(name, 0), value)
        labels = ["method", "route", "status"]
        seconds = HistogramMetricFamily("cais_registry_request_seconds", "Time of a request", labels=labels)
        received = CounterMetricFamily("cais_registry_received_bytes", "Bytes of bodies received", labels=labels)
        sent = CounterMetricFamily("cais_registry_sent_bytes", "Bytes of bodies sent", labels=labels)
        for key, row in sorted(requests.items()):
            received.add_metric(key, row[_RECEIVED])
            sent.add_metric(key, row[_SENT])
            total, buckets = 0.0, []
            for bound, count in zip((*map(str, BOUNDS_SECONDS), "+Inf"), row[_BUCKETS:], strict=True):
                total += count
                buckets.append((bound, total))
            seconds.add_metric(key, buckets, row[_SECONDS])
        yield from (seconds, received, sent)
        yield GaugeMetricFamily("cais_registry_requests_running", "Requests that are not over", running)
        for name, (is_counter, text) in OTHERS.items():
            family = CounterMetricFamily if is_counter else GaugeMetricFamily
            yield family(f"cais_registry_{name}", text, others.get(name, 0))


def exposition(counts: Counts) -> tuple[bytes, str]:
    """What Prometheus is answered, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return generate_latest(registry_of(counts)), CONTENT_TYPE_LATEST


def registry_of(counts: Counts) -> CollectorRegistry:
    """For the client library: the counts, and what the process takes (memory, CPU, descriptors)."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry()
    registry.register(counts)
    ProcessCollector(registry=registry)
    return registry
