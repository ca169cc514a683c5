"""The steps that a build shows: those of its Dockerfile by name, and what it does beside them (fetching, sending)."""

from __future__ import annotations

import time

from cais.errors import CaisError
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.build.graph import Vertex


class Step:
    """Starts and ends with a ``with``; a Progress for what moves layers (``cais.engine.pull.Layers``)."""

    def __init__(self, progress: Progress, id: int, name: str = "") -> None:
        """``name``: "" where ``progress`` knows what ``id`` is called."""
        self._progress = progress
        self._event: dict[str, Any] = {"event": "start", "id": id}
        if name:
            self._event |= {"name": name, "stage": "internal", "inputs": []}
        self._id = id
        self._started = 0.0

    def __enter__(self) -> Step:
        self._started = time.monotonic()
        self._progress(self._event)
        return self

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "layer" and event["state"] == "moving":
            self.status(event["id"], event["current"], event["total"])

    def status(self, what: str, current: int, total: int) -> None:
        """How far something is, in bytes."""
        self._progress({"event": "status", "id": self._id, "what": what, "current": current, "total": total})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            seconds = time.monotonic() - self._started
            self._progress({"event": "done", "id": self._id, "seconds": seconds})
        elif isinstance(error, CaisError):
            self._progress({"event": "error", "id": self._id, "message": str(error)})


def named(progress: Progress, ids: Mapping[Vertex, int]) -> Progress:
    """For who tells of vertices by their numbers: ``progress`` is told their titles, stages and inputs, too."""
    vertices = {id: vertex for vertex, id in ids.items()}

    def show(event: dict[str, Any]) -> None:
        if event["event"] == "start":
            vertex = vertices[event["id"]]
            inputs = [ids[item] for item in vertex.inputs if item is not None and item in ids]
            event = {**event, "name": vertex.origin.title, "stage": vertex.origin.stage, "inputs": inputs}
        progress(event)

    return show
