"""Solve: does what the plan says must be done; steps that do not need each other run side by side.

The results do not depend on the order in which steps end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from cais.build.at_work import AtWork
from cais.build.graph import Copy, Exec, GitSource, HttpSource, LocalSource, Merge, SourceImage, Vertex, stage_mounts
from cais.build.plan import Content, Planner, Result, Verdict
from cais.build.records import Record, Records
from cais.errors import CaisError, Cancelled
from cais.snapshot.store import Layer
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from cais.host.threads import Thread
else:
    Protocol = object  # at run time a protocol is nothing but a class


# RUN steps mostly wait: for the network, for the disk, for each other. Copying is bounded by the executor.
MOST_STEPS_AT_ONCE = 64


# So long may an interrupt go unnoticed.
INTERRUPT_SECONDS = 0.2


class Executor(Protocol):
    """Carries out one vertex (``cais.build.execute``)."""

    def execute(self, vertex: Vertex, inputs: Sequence[Result], id: int, previous: Record | None) -> Layer:
        """``previous`` is what the same step was the last time."""

    def content(self, vertex: Vertex, inputs: Sequence[Result]) -> Content:
        """What a Copy takes from a stage, or the mounts of an Exec show of stages, by content."""

    def hold(self, chain: Digest) -> bool:
        """Keeps a file system from the collector; False when it is gone already."""

    def is_settled(self, vertex: Vertex) -> bool:
        """False where what it read changed meanwhile: the result is good, and not what its key says."""

    def listing(self, vertex: Vertex) -> tuple[Digest, bytes] | None:
        """What it copied, to be compared when the step is built again."""

    def cancel(self) -> None:
        """Ends what is running."""


def needed(targets: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict]) -> set[Vertex]:
    """What has to be looked at again: a vertex that is no hit, and what such a one reads."""
    found: set[Vertex] = set()
    pending = list(targets)
    while pending:
        vertex = pending.pop()
        if vertex in found or verdicts[vertex].state == "hit":
            continue
        found.add(vertex)
        pending.extend(item for item in vertex.inputs if item is not None)
    return found


class Outcome(NamedTuple):
    """What became of a vertex that was looked at again: ``state`` is running, hit, miss, failed or cancelled.

    ``started`` is in seconds since 1970. ``verdict`` is what it was once its inputs were known.
    """

    state: str
    verdict: Verdict
    started: float
    seconds: float = 0.0
    layer: Record | None = None


class Solver:
    """``ids`` numbers the vertices for progress, from 1. ``outcomes`` are there whether it succeeds or fails."""

    def __init__(
        self,
        planner: Planner,
        records: Records,
        executor: Executor,
        progress: Progress,
        ids: Mapping[Vertex, int],
        workers: int = 0,
        at_work: AtWork | None = None,
    ) -> None:
        """``at_work`` is shared with the solvers of other builds that go on at once."""
        self._planner = planner
        self._records = records
        self._executor = executor
        self._progress = progress
        self._ids = ids
        self._workers = workers or MOST_STEPS_AT_ONCE
        self._lock = threading.RLock()
        self._work_there = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._threads: list[Thread] = []
        self._idle = 0
        self._ready: list[Vertex] = []
        self._left: set[Vertex] = set()
        self._readers: dict[Vertex, list[Vertex]] = {}
        self._order: dict[Vertex, int] = {}
        self._verdicts: Mapping[Vertex, Verdict] = {}
        self.results: dict[Vertex, Result] = {}
        self.outcomes: dict[Vertex, Outcome] = {}
        self._error: BaseException | None = None
        self._at_work = at_work or AtWork()

    def solve(self, vertices: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict], *targets: Vertex) -> None:
        """Afterwards ``results`` has those of ``targets``. ``vertices`` stand inputs first.

        Raises what the failing step raised.
        """
        self._verdicts = verdicts
        self._left = needed(targets, verdicts)
        for index, vertex in enumerate(vertices):
            self._order[vertex] = index
            result = verdicts[vertex].result
            if vertex not in self._left and result is not None:
                self.results[vertex] = result
        for vertex in self._left:
            for item in {*vertex.inputs}:  # each once: a stage may copy from what it begins with
                if item is not None:
                    self._readers.setdefault(item, []).append(vertex)
        self._at_work.on_stop(self._fail)
        try:
            with self._lock:
                self._add([vertex for vertex in self._left if self._is_ready(vertex)])
                while self._left and self._error is None:
                    # Not for ever: a signal that comes just before a thread begins to wait does not wake it.
                    self._ended.wait(INTERRUPT_SECONDS)
        except BaseException as error:
            self._fail(error)
        finally:
            if self._error is not None:
                self._executor.cancel()
            with self._lock:
                self._work_there.notify_all()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()
        if self._error is not None:
            raise self._error

    def _is_ready(self, vertex: Vertex) -> bool:
        return all(item is None or item in self.results for item in vertex.inputs)

    def _add(self, ready: Sequence[Vertex], free: int = 0) -> None:
        """With the lock: ``ready`` are to be done. Idle threads are woken, lacking ones begin; ``free``: the caller."""
        self._ready = sorted([*self._ready, *ready], key=self._order.__getitem__)
        wanted = len(self._ready) - free
        self._work_there.notify(max(0, wanted))
        for _ in range(min(wanted - self._idle, self._workers - len(self._threads))):
            from cais.host.threads import Thread

            thread = Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                while self._left and not self._ready and self._error is None:
                    self._work_there.wait()
                self._idle -= 1
                if self._error is not None or not self._ready:
                    return
                vertex = self._ready.pop(0)
            try:
                result = self._one(vertex, self._verdicts[vertex])
            except BaseException as error:
                self._fail(error)
                return
            with self._lock:
                self.results[vertex] = result
                self._left.discard(vertex)
                self._add([item for item in self._readers.get(vertex, ()) if self._is_ready(item)], free=1)
                if not self._left:
                    self._work_there.notify_all()
                    self._ended.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            # What others raise because the first one's failure stopped them is no news, even when it comes first.
            if self._error is None or (isinstance(self._error, Cancelled) and not isinstance(error, Cancelled)):
                self._error = error
            for condition in (self._work_there, self._ended):
                condition.notify_all()
            for thread in self._threads:
                thread.stop()
        self._at_work.wake()

    def _one(self, vertex: Vertex, verdict: Verdict) -> Result:
        inputs = [Result(None) if item is None else self.results[item] for item in vertex.inputs]
        if isinstance(vertex.op, (SourceImage, LocalSource, HttpSource, GitSource, Merge)):
            return self._planner.judge(vertex, inputs).result or Result(None)
        id = self._ids[vertex]
        self._progress({"event": "start", "id": id})
        started = time.monotonic()
        outcome = self.outcomes[vertex] = Outcome("running", verdict, time.time())
        try:
            verdict = self._settled(vertex, inputs, verdict)
            outcome = self.outcomes[vertex] = outcome._replace(verdict=verdict)
            if verdict.state == "hit" and verdict.result is not None:
                seconds = time.monotonic() - started
                self.outcomes[vertex] = outcome._replace(state="hit", seconds=seconds, layer=verdict.result.layer)
                self._progress({"event": "cached", "id": id})
                return verdict.result
            same = self._at_work.begin(verdict.key, lambda: self._error is not None)
            if same is not None:
                seconds = time.monotonic() - started
                self.outcomes[vertex] = outcome._replace(state="hit", seconds=seconds, layer=same.layer)
                self._progress({"event": "cached", "id": id})
                return same
            from cais.build.reasons import summary

            reasons = [list(reason) for reason in verdict.reasons]
            result = None
            try:
                self._progress({"event": "miss", "id": id, "reason": summary(verdict.reasons), "reasons": reasons})
                previous = self._records.latest(self._planner.step(vertex))
                layer = self._executor.execute(vertex, inputs, id, previous)
                result = Result(layer.chain_id, self._record(vertex, verdict, layer))
            finally:
                self._at_work.end(verdict.key, result)
        except BaseException as error:
            outcome = self.outcomes[vertex] = outcome._replace(state="cancelled", seconds=time.monotonic() - started)
            if self._error is not None and not isinstance(self._error, Cancelled):
                raise Cancelled("stopped, as another step failed")
            if isinstance(error, Cancelled):
                raise
            self.outcomes[vertex] = outcome._replace(state="failed")
            if isinstance(error, CaisError):
                error.span = error.span or vertex.origin[:2]
            self._progress({"event": "error", "id": id, "message": str(error)})
            raise
        seconds = time.monotonic() - started
        self.outcomes[vertex] = outcome._replace(state="miss", seconds=seconds, layer=result.layer)
        self._progress({"event": "done", "id": id, "seconds": seconds})
        return result

    def _settled(self, vertex: Vertex, inputs: Sequence[Result], verdict: Verdict) -> Verdict:
        """A hit that is held, or a miss, now that the inputs are known."""
        if verdict.state == "pending":
            verdict = self._planner.judge(vertex, inputs)
        if verdict.state == "miss":
            verdict = self._by_content(vertex, inputs, verdict)
        result = verdict.result
        if result is not None and result.chain is not None and not self._executor.hold(result.chain):
            # Collected since it was found; its record does not count any more.
            return self._settled(vertex, inputs, self._planner.judge(vertex, inputs))
        return verdict

    def _by_content(self, vertex: Vertex, inputs: Sequence[Result], verdict: Verdict) -> Verdict:
        """What is read from a stage that was built anew may still be what it was before."""
        if not _reads_stages(vertex, inputs):
            return verdict
        content = self._executor.content(vertex, inputs)
        by_content = self._planner.judge(vertex, inputs, content, self._executor.listing(vertex))
        if by_content.result is not None and by_content.result.layer is not None:
            # So that the next plan need not look at the content.
            mark = self._planner.mark(vertex)._asdict()
            self._records.put(by_content.result.layer._replace(key=verdict.key, **mark))
        return by_content

    def _record(self, vertex: Vertex, verdict: Verdict, layer: Layer) -> Record:
        mark = self._planner.mark(vertex)
        record = Record(
            verdict.key,
            mark.step,
            layer.chain_id,
            layer.diff_id,
            layer.size_bytes,
            layer.newest,
            dict(verdict.parts or {}),
            *mark[1:],
        )
        if not self._executor.is_settled(vertex):
            return record
        self._records.put(record, self._executor.listing(vertex))
        inputs = [Result(None) if item is None else self.results[item] for item in vertex.inputs]
        if _reads_stages(vertex, inputs):
            self._records.put(record._replace(key=self._planner.judge(vertex, inputs).key))
        return record


def _reads_stages(vertex: Vertex, inputs: Sequence[Result]) -> bool:
    """Whether the key has contents of what other stages have made."""
    op = vertex.op
    if isinstance(op, Copy):
        return not op.from_context and len(inputs) > 1 and inputs[1].chain is not None
    return isinstance(op, Exec) and bool(stage_mounts(vertex))
