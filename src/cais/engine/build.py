"""Building an image: context, Dockerfile, graph, plan, solve, assemble, tag."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from cais.build.contexts import Contexts
from cais.build.dockerfile.errors import Span, marked_lines
from cais.build.dockerfile.parser import Dockerfile, parse
from cais.build.graph import Copy, Exec, SourceImage, Vertex, reachable
from cais.build.listing import difference
from cais.build.lower import lower
from cais.build.lowering.result import Lowered
from cais.build.plan import Facts, Planner, Result, Verdict
from cais.build.records import Records
from cais.build.solve import Solver, needed
from cais.engine.build_input import BuildInput, open_input
from cais.engine.build_log import BuildLog, BuildRow, builds, events
from cais.engine.build_options import BuildOptions, refuse_not_built_yet
from cais.engine.stores import Stores
from cais.errors import CaisError, NotFound
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.progress import Progress, silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.image.store import Image


__all__ = ["BuildOptions", "BuildResult", "Builder", "PlannedStep"]


class BuildResult(NamedTuple):
    """``image_id`` and ``digest`` are "" where only files were put out. ``build_id`` names the kept log."""

    image_id: str
    digest: str
    names: tuple[str, ...]
    build_id: str
    seconds: float


class PlannedStep(NamedTuple):
    """One step as ``build --plan`` shows it; ``state`` is ``hit``, ``miss`` or ``pending``."""

    name: str
    line: int
    state: str
    reasons: tuple[str, ...]


class Builder:
    """Builds, and what is kept of builds."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def build(self, options: BuildOptions, progress: Progress = silent) -> BuildResult:
        """Raises Invalid (Dockerfile, options), NotFound (base image, files), Failed (a RUN step), Unavailable, ..."""
        from cais.engine.build_output import parse_outputs, put_out

        started = time.monotonic()
        refuse_not_built_yet(options)
        outputs = parse_outputs(options)
        tags = [*options.tags, *(name for output in outputs for name in output.names)]
        names = [Reference.parse(tag) for tag in dict.fromkeys(tags)]
        name = names[0].familiar if names else options.context
        # What this build holds is let go at its end, however long the engine lives.
        stores = self._stores.apart()
        try:
            with BuildLog(stores, name, progress) as log, open_input(stores, options, log.directory) as given:
                run = _Run(stores, options, given, log.progress)
                lowered, result = run.solve()
                image_id, digest = put_out(stores, options, names, lowered, result, run.results, run.bases)
                log.image = image_id
        finally:
            stores.leases.release()
        return BuildResult(image_id, digest, tuple(name.familiar for name in names), log.id, time.monotonic() - started)

    def plan(self, options: BuildOptions) -> list[PlannedStep]:
        """What ``build`` would do, and why; runs and writes nothing of the image."""
        self._stores.database.require_own()
        stores = self._stores.apart()
        try:
            with open_input(stores, options, "") as given:
                run = _Run(stores, options, given, silent)
                vertices, verdicts = run.plan()
                return [
                    PlannedStep(
                        vertex.origin.title,
                        vertex.origin.first_line,
                        verdicts[vertex].state,
                        tuple(map(str, verdicts[vertex].reasons)),
                    )
                    for vertex in vertices
                    if vertex.origin.stage != "internal"
                ]
        finally:
            stores.leases.release()

    def list(self) -> list[BuildRow]:
        """The builds whose logs are kept, the latest first."""
        return builds(self._stores)

    def log(self, build: str = "") -> Iterator[dict[str, Any]]:
        """The progress events of a kept build (default: the latest). Raises NotFound."""
        return events(self._stores, build)

    def prune(self) -> int:
        """Forgets the build cache; returns the bytes of layers and blobs that nothing else needed."""
        from cais.engine.collect import collect

        Records(self._stores.database).prune()
        return collect(self._stores).size_bytes


class _Run:
    """One build: the way from its input to its target's file system."""

    def __init__(self, stores: Stores, options: BuildOptions, given: BuildInput, progress: Progress) -> None:
        self._stores = stores
        self._options = options
        self._given = given
        self._progress = progress
        self._records = Records(stores.database)
        self.bases: dict[str, Image] = {}
        self._solved: Mapping[Vertex, Result] = {}
        self._unpacking = threading.Lock()
        self._verdicts: dict[Vertex, Verdict] = {}

    def solve(self) -> tuple[Lowered, Digest | None]:
        """The lowered target and the chain of its file system."""
        vertices, verdicts = self.plan()
        target = self._lowered.vertex
        shown = (vertex for vertex in vertices if vertex.origin.stage != "internal")
        ids = {vertex: number for number, vertex in enumerate(shown, 1)}
        self._show_hits(vertices, verdicts, ids)
        if target is None:
            return self._lowered, None
        if verdicts[target].state == "hit":
            result = verdicts[target].result
            return self._lowered, result.chain if result else None
        from cais.build.execute import OpExecutor
        from cais.runtime.runner import Runtime

        self._stores.snapshots.reach()  # before the first thread
        again = needed([target], verdicts)
        self._enter([vertex for vertex in again if isinstance(vertex.op, Exec)])
        runtime = Runtime(self._stores.root, self._stores.settings.runtime)
        executor = OpExecutor(
            self._stores.snapshots,
            runtime,
            self._given.contexts,
            self._progress,
            ensure=self._ensure,
            base_time=self._base_time,
            listing_of=self._records.listing,
            epoch=self._options.epoch,
        )
        solver = Solver(self._planner, self._records, executor, self._named(ids), ids, self._options.workers)
        try:
            with self._explained():
                result = solver.solve(vertices, verdicts, target)
        finally:
            runtime.close()
        self._solved = solver.results
        return self._lowered, result.chain

    def _enter(self, runs: Sequence[Vertex]) -> None:
        """What is mounted goes with this process. Raises Denied, with the line of the first of ``runs``."""
        if not runs and not self._stores.snapshots.driver.opaque:
            return
        from cais.host.namespaces import enter

        with self._explained():
            try:
                enter()
            except CaisError as error:
                error.span = min((vertex.origin[:2] for vertex in runs), default=None)
                raise

    def plan(self) -> tuple[list[Vertex], dict[Vertex, Verdict]]:
        """The vertices that the target needs, inputs first, and their verdicts; what is a hit is held from now on."""
        with self._explained():
            self._dockerfile: Dockerfile = parse(self._given.source)
            self._lowered = lower(
                self._dockerfile,
                base=self._base,
                platform=self._platform,
                build_platform=self._stores.platform,
                build_args=self._options.build_args,
                labels=self._options.labels,
                target=self._options.target,
                network=self._options.network,
            )
            for warning in self._lowered.warnings:
                self._progress({"event": "warning", "message": warning.message, "line": warning.line})
            vertices = reachable(self._lowered.vertex)
            facts = self._facts(vertices)
            lookup = _Lookup(self._records, self._given.contexts, facts)
            self._planner = Planner(facts, lookup, self._given.scope, difference)
            verdicts = self._planner.plan(vertices)
            while not self._hold(verdicts):
                verdicts = self._planner.plan(vertices)
        self._verdicts = verdicts
        return vertices, verdicts

    def _hold(self, verdicts: Mapping[Vertex, Verdict]) -> bool:
        """Keeps the hits from the collector; False where it was faster, and the plan is not true any more."""
        hits = [verdict.result for verdict in verdicts.values() if verdict.result is not None]
        with self._stores.database.transaction() as change:
            for result in hits:
                if result.chain is not None:
                    self._stores.leases.hold(change, f"chain:{result.chain}")
            return self._records.touch(change, [result.layer.key for result in hits if result.layer is not None])

    @property
    def results(self) -> dict[Vertex, Result]:
        """Of every vertex that is known: by the plan, or by solving."""
        found = {vertex: verdict.result for vertex, verdict in self._verdicts.items() if verdict.result is not None}
        found.update(self._solved)
        return found

    @property
    def _platform(self) -> Platform:
        host = self._stores.platform
        return Platform.parse(self._options.platform, host) if self._options.platform else host

    def _base(self, reference: str, platform: Platform) -> ImageConfig:
        try:
            self._stores.images.resolve(reference)
        except NotFound as error:
            error.message = f"{Reference.parse(reference).familiar}: not found among the local images"
            error.hint = "Load or build it first: this version does not pull (cais image ls lists what is here)."
            raise
        image = self._stores.images.get(reference, platform)
        self.bases[reference] = image
        return image.config

    def _ensure(self, chain: Digest) -> None:
        with self._unpacking:  # stages that begin with the same image do it once
            for image in self.bases.values():
                if image.chain == chain:
                    self._stores.images.ensure_unpacked(image)

    def _base_time(self, chain: Digest) -> int:
        from cais.spec import timestamp

        times = [image.config.created for image in self.bases.values() if image.chain == chain]
        return max((int(timestamp.parse(text)) for text in times if text), default=0)

    def _facts(self, vertices: Sequence[Vertex]) -> Facts:
        """Reads what planning needs to know: which layers the base images have, what the copied files are."""
        bases = {}
        selections = {}
        for vertex in vertices:
            if isinstance(vertex.op, SourceImage):
                bases[vertex] = self.bases[vertex.op.reference].chain
            elif isinstance(vertex.op, Copy) and vertex.op.from_context and vertex.op.sources:
                try:
                    selections[vertex] = self._given.contexts.of(vertex).digest(vertex.op)
                except CaisError as error:
                    error.span = error.span or vertex.origin[:2]
                    raise
        return Facts(bases, selections, self._options.epoch, self._options.no_cache)

    def _show_hits(
        self, vertices: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict], ids: Mapping[Vertex, int]
    ) -> None:
        again = needed([vertices[-1]], verdicts) if vertices else set()
        for vertex in vertices:
            if vertex not in again and vertex.origin.stage != "internal":
                self._progress({"event": "start", "id": ids[vertex], "name": vertex.origin.title})
                self._progress({"event": "cached", "id": ids[vertex]})

    def _named(self, ids: Mapping[Vertex, int]) -> Progress:
        names = {id: (vertex.origin.title, vertex.origin.stage) for vertex, id in ids.items()}

        def progress(event: dict[str, Any]) -> None:
            if event["event"] == "start":
                name, stage = names[event["id"]]
                event = {**event, "name": name, "stage": stage}
            self._progress(event)

        return progress

    def _explained(self) -> _Explained:
        return _Explained(self._given)


class _Lookup:
    """The records; of the files that are there now, their context knows the listing."""

    def __init__(self, records: Records, contexts: Contexts, facts: Facts) -> None:
        self.find = records.find
        self.latest = records.latest
        self._records = records
        self._contexts = contexts
        self._vertices = {digest: vertex for vertex, digest in facts.selections.items()}

    def listing(self, digest: str) -> bytes | None:
        vertex = self._vertices.get(Digest(digest))
        if vertex is None or not isinstance(vertex.op, Copy):
            return self._records.listing(digest)
        return self._contexts.of(vertex).listing(vertex.op)


class _Explained:
    """Adds the marked lines of the Dockerfile to an error that says which they are."""

    def __init__(self, given: BuildInput) -> None:
        self._given = given

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CaisError) and error.span is not None and not error.lines:
            error.lines = marked_lines(self._given.dockerfile_name, self._given.source, Span(*error.span))
