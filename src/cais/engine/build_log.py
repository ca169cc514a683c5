"""The log of a build: its progress events, one JSON line each, kept for the last builds."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from cais.engine.stores import Stores
from cais.errors import CaisError, Cancelled, NotFound, from_os_error
from cais.host.files import random_name, remove_tree
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEPT_BUILDS = 50
# Of each step's output; the rest is counted and left out.
STEP_OUTPUT_LIMIT_BYTES = 4 << 20


class BuildRow(NamedTuple):
    """``started`` and ``finished`` are in seconds since 1970; ``finished`` is 0 while it runs, and where it was killed.

    ``status`` is ``running``, ``done``, ``failed``, ``cancelled`` or ``killed``.
    """

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
        self.described: Callable[[], Mapping[str, Any]] = dict  # what the record says beside what is known here
        self._stores = stores
        self._name = name
        self._show = progress
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}

    def __enter__(self) -> BuildLog:
        self._started = time.time()
        with self._stores.database.transaction() as change:
            # Before there is a directory: one without a row is garbage.
            change.execute(
                "INSERT INTO builds (id, name, started, status) VALUES (?, ?, ?, 'running')",
                (self.id, self._name, self._started),
            )
        try:
            os.makedirs(self.directory, 0o700)
            # By lines, so that it can be read while the build runs, and after it was killed.
            self._file = open(os.path.join(self.directory, "log"), "w", encoding="ascii", buffering=1)
            # Held while the build runs.
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)
        except OSError as error:
            self._finish("failed")
            raise from_os_error(error, "write the log of the build")
        self._forget_oldest()
        return self

    def _forget_oldest(self) -> None:
        rows = self._stores.database.rows(
            "SELECT id FROM builds ORDER BY started DESC LIMIT -1 OFFSET ?", (KEPT_BUILDS,)
        )
        old = [id for (id,) in rows if not is_running(self._stores, id)]
        if old:
            with self._stores.database.transaction() as change:
                change.execute_many("DELETE FROM builds WHERE id = ?", [(id,) for id in old])
        for id in old:
            remove_tree(os.path.join(self._stores.root, "builds", id))

    def progress(self, event: dict[str, Any]) -> None:
        """Called from any thread."""
        with self._lock:
            self._write(event)
            self._show(event)

    def _write(self, event: dict[str, Any]) -> None:
        kept = {"at": round(time.time() - self._started, 6), **event}
        data = event.get("data")
        if isinstance(data, bytes):
            before = self._sizes.get(event["id"], 0)
            self._sizes[event["id"]] = before + len(data)
            data = data[: max(0, STEP_OUTPUT_LIMIT_BYTES - before)]
            if not data:
                return
            kept["data"] = data.decode("utf-8", "surrogateescape")
        elif event["event"] in ("done", "error"):
            left_out = self._sizes.pop(event["id"], 0) - STEP_OUTPUT_LIMIT_BYTES
            if left_out > 0:
                text = f"\n[{left_out} more bytes were not kept]\n"
                self._put({"at": kept["at"], "event": "output", "id": event["id"], "stream": 2, "data": text})
        self._put(kept)

    def _put(self, event: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(event) + "\n")
        except (OSError, ValueError):
            pass  # a build does not fail for its log: a full disk is the step's to tell

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            status = "done"
        else:
            # What is no Exception is an interrupt, or a signal that ends the command.
            status = "failed" if isinstance(error, Exception) and not isinstance(error, Cancelled) else "cancelled"
            self._write({"event": "failed", "message": str(error)})
        self._keep_record(status, error)
        if isinstance(error, CaisError):
            error.build_id = self.id
        try:
            self._finish(status)
        except CaisError:
            if kind is None:
                raise
        finally:
            try:
                self._file.close()
            except OSError:
                pass

    def _keep_record(self, status: str, error: BaseException | None) -> None:
        from cais.engine.build_record import VERSION, error_kept, write

        record = {
            "version": VERSION,
            "id": self.id,
            "name": self._name,
            "status": status,
            "started": self._started,
            "finished": time.time(),
            **self.described(),
        }
        if error is not None:
            record["error"] = error_kept(error)
        write(self.directory, record)

    def _finish(self, status: str) -> None:
        with self._stores.database.transaction() as change:
            change.execute(
                "UPDATE builds SET finished = ?, status = ?, image = ? WHERE id = ?",
                (time.time(), status, self.image, self.id),
            )


def is_running(stores: Stores, id: str) -> bool:
    """Whether a process holds the log of this build."""
    try:
        with open(os.path.join(stores.root, "builds", id, "log"), encoding="ascii") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def builds(stores: Stores) -> list[BuildRow]:
    """The builds whose logs are kept, the latest first."""
    rows = stores.database.rows("SELECT id, name, started, finished, status, image FROM builds ORDER BY started DESC")
    found = [BuildRow(row[0], row[1], row[2], row[3] or 0.0, row[4], row[5]) for row in rows]
    return [
        row._replace(status="killed") if row.status == "running" and not is_running(stores, row.id) else row
        for row in found
    ]


def events(stores: Stores, build: str = "") -> Iterator[dict[str, Any]]:
    """The events of a build (``build_history.find``), with ``at`` in seconds from its start.

    Raises NotFound, Invalid.
    """
    from cais.engine.build_history import find

    id = find(stores, build).id
    try:
        file = open(os.path.join(stores.root, "builds", id, "log"), encoding="ascii")  # noqa: SIM115
    except FileNotFoundError:
        raise NotFound(f"the log of the build {id} is gone")
    except OSError as error:
        raise from_os_error(error, f"read the log of the build {id}")
    with file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a killed build
            if "data" in event:
                event["data"] = event["data"].encode("utf-8", "surrogateescape")
            yield event


def said_of_failure(error: CaisError) -> str:
    """Its message with BuildKit's words before it, when it ended a build that had begun."""
    said = ("unable to prepare context", "failed to get build context", "invalid context name")
    context = error.message.startswith(said)
    return f"failed to solve: {error.message}" if error.build_id and not context else error.message
