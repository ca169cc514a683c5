"""Build progress for programs: BuildKit's ``SolveStatus`` as ``docker buildx build --progress=rawjson`` prints it, an
object a line.

``vertexes`` have ``digest``, ``inputs``, ``name``, ``started``, ``completed``, ``cached`` and ``error``; the texts of
``logs`` and ``warnings`` are in base64. Cais's own: a miss of the cache is a status, its reason in its ``id``.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any


class Raw:
    """Writes to ``out``. ``started`` is when the build began, for events that say ``at`` (those of a kept log)."""

    def __init__(self, out: IO[str], started: float = 0.0) -> None:
        self._out = out
        self._started = started
        self._vertices: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> None:
        at = event.get("at")
        now = _timestamp(time.time() if at is None else self._started + at)
        with self._lock:
            for status in self._statuses(event, now):
                self._out.write(json.dumps(status, ensure_ascii=False) + "\n")
            self._out.flush()

    def close(self) -> None:
        pass

    def failure(self) -> str:
        return ""

    def _statuses(self, event: dict[str, Any], now: str) -> list[dict[str, Any]]:
        kind, id = event["event"], event.get("id", 0)
        if kind == "warning":
            return [{"warnings": [warning(event)]}]
        if kind == "start":
            vertex: dict[str, Any] = {"digest": _digest(id)}
            inputs = [_digest(item) for item in event.get("inputs", ())]
            if inputs:
                vertex["inputs"] = inputs
            self._vertices[id] = {**vertex, "name": _text(event.get("name", "")), "started": now}
            return [{"vertexes": [self._vertices[id]]}]
        if kind == "output":
            data = event["data"] if isinstance(event["data"], bytes) else event["data"].encode("utf-8", "replace")
            return [
                {"logs": [{"vertex": _digest(id), "stream": event["stream"], "data": _base64(data), "timestamp": now}]}
            ]
        if kind in ("done", "cached", "error"):
            vertex = {**self._vertices.get(id, {"digest": _digest(id), "name": "", "started": now}), "completed": now}
            if kind == "cached":
                vertex["cached"] = True
            elif kind == "error":
                vertex["error"] = _text(event["message"])
            return [{"vertexes": [vertex]}]
        if kind == "miss":
            name = _text(f"cache miss: {event['reason']}")
            return [{"statuses": [_status(name, id, now, current=0, started=now, completed=now)]}]
        if kind == "status":
            total = event.get("total") or 0
            ended = {"completed": now} if total and event["current"] >= total else {}
            more = {"total": total} if total else {}
            return [
                {
                    "statuses": [
                        _status(_text(event.get("what", "")), id, now, **more, current=event["current"], **ended)
                    ]
                }
            ]
        return []


def _status(name: str, id: int, now: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "vertex": _digest(id), "name": name, **more, "timestamp": now}


def warning(event: dict[str, Any]) -> dict[str, Any]:
    """A warning as BuildKit's documents have it."""
    line, short = event.get("line"), event["message"]
    if line and event.get("rule"):
        short = f"{event['rule']}: {short} (line {line})"
    said: dict[str, Any] = {"level": 1, "short": _base64(short.encode("utf-8", "replace"))}
    if event.get("detail"):
        said["detail"] = [_base64(event["detail"].encode())]
    if event.get("url"):
        said["url"] = event["url"]
    if line:
        said["range"] = [{"start": {"line": line}, "end": {"line": event.get("last_line", line)}}]
    return said


def _digest(id: int) -> str:
    """One for each vertex of a build, as its events have numbers."""
    return "sha256:" + hashlib.sha256(f"cais vertex {id}".encode()).hexdigest()


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode("ascii")


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, with nanoseconds, as Go writes a time."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{microseconds:06d}000Z"
