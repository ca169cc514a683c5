"""The log of a build: its progress events, one JSON line each, kept for the last builds."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from cais.engine.stores import Stores
from cais.errors import NotFound
from cais.host.files import random_name, remove_tree
from cais.ports import Progress

KEPT_BUILDS = 50
# Of each step's output; the rest is counted and left out.
STEP_OUTPUT_LIMIT_BYTES = 4 << 20


class BuildRow(NamedTuple):
    """``started`` and ``finished`` are in seconds since 1970; ``finished`` is 0 where the process was killed."""

    id: str
    name: str
    started: float
    finished: float
    status: str
    image: str


class BuildLog:
    """``with BuildLog(stores, name, progress) as log:``; ``log.progress`` shows and writes each event."""

    def __init__(self, stores: Stores, name: str, progress: Progress) -> None:
        self.id = random_name(6)
        self.directory = os.path.join(stores.root, "builds", self.id)
        self.image = ""
        self._stores = stores
        self._name = name
        self._show = progress
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}

    def __enter__(self) -> BuildLog:
        self._started = time.time()
        self._stores.database.require_own()
        os.makedirs(self.directory, 0o700)
        self._file = open(os.path.join(self.directory, "log"), "w", encoding="ascii")
        with self._stores.database.transaction() as change:
            change.execute(
                "INSERT INTO builds (id, name, started, status) VALUES (?, ?, ?, 'running')",
                (self.id, self._name, self._started),
            )
            old = change.rows("SELECT id FROM builds ORDER BY started DESC LIMIT -1 OFFSET ?", (KEPT_BUILDS,))
            change.execute_many("DELETE FROM builds WHERE id = ?", old)
        for (id,) in old:
            remove_tree(os.path.join(self._stores.root, "builds", id))
        return self

    def progress(self, event: dict[str, Any]) -> None:
        """Called from any thread."""
        with self._lock:
            self._write(event)
            self._show(event)

    def _write(self, event: dict[str, Any]) -> None:
        kept = {"at": round(time.time() - self._started, 6), **event}
        data = event.get("data")
        if isinstance(data, bytes):
            size = self._sizes[event["id"]] = self._sizes.get(event["id"], 0) + len(data)
            if size > STEP_OUTPUT_LIMIT_BYTES:
                return
            kept["data"] = data.decode("utf-8", "surrogateescape")
        self._file.write(json.dumps(kept) + "\n")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            status = "done"
        else:
            status = "cancelled" if issubclass(kind, KeyboardInterrupt) else "failed"
            self._write({"event": "failed", "message": str(error)})
        self._file.close()
        with self._stores.database.transaction() as change:
            change.execute(
                "UPDATE builds SET finished = ?, status = ?, image = ? WHERE id = ?",
                (time.time(), status, self.image, self.id),
            )


def builds(stores: Stores) -> list[BuildRow]:
    """The builds whose logs are kept, the latest first."""
    rows = stores.database.rows("SELECT id, name, started, finished, status, image FROM builds ORDER BY started DESC")
    return [BuildRow(row[0], row[1], row[2], row[3] or 0.0, row[4], row[5]) for row in rows]


def events(stores: Stores, build: str = "") -> Iterator[dict[str, Any]]:
    """The events of a build by its id or the start of it (default: the latest), with ``at`` in seconds from its start.

    Raises NotFound.
    """
    ids = [row.id for row in builds(stores) if row.id.startswith(build)]
    if not ids:
        raise NotFound(
            f"no build {build!r} is kept" if build else "no build is kept", hint="cais builder ls lists the builds."
        )
    with open(os.path.join(stores.root, "builds", ids[0], "log"), encoding="ascii") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a killed build
            if "data" in event:
                event["data"] = event["data"].encode("utf-8", "surrogateescape")
            yield event
