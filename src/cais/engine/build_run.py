"""One build: the way from its input to the file systems of its targets, one for each platform.

The Dockerfile is lowered once a platform. What the platforms share is one vertex, and all of them are planned and
solved together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cais.build.checks.report import Checks
from cais.build.contexts import Contexts
from cais.build.dockerfile.parser import Dockerfile, parse
from cais.build.graph import Copy, Exec, SourceImage, Vertex, reachable
from cais.build.listing import changes
from cais.build.lower import lower
from cais.build.lowering.result import Lowered
from cais.build.plan import Facts, Planner, Result, Verdict
from cais.build.records import Records
from cais.build.solve import Outcome, Solver, needed
from cais.engine.build_bases import Bases
from cais.engine.build_input import BuildInput, Explained
from cais.engine.build_options import BuildOptions, platforms
from cais.engine.build_record import BuildStep, options_kept, steps_of
from cais.engine.build_settings import run_settings, step_settings
from cais.engine.build_sources import FETCHED, shown_source
from cais.engine.build_steps import Step, named
from cais.engine.stores import Stores
from cais.errors import CaisError
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.at_work import AtWork
    from cais.build.credentials import Credentials
    from cais.build.execute import OpExecutor
    from cais.engine.build_debug import Place
    from cais.engine.cache_import import CacheImports
    from cais.runtime.runner import Runtime


class Built(NamedTuple):
    """One platform's target: ``chain`` is its file system (None: empty), ``results`` those of all vertices.

    ``platform`` is the one that was asked for; what the image says is in ``lowered``.
    """

    platform: Platform
    lowered: Lowered
    chain: Digest | None
    results: Mapping[Vertex, Result]


class Run:
    """``plan`` or ``solve``, once."""

    def __init__(
        self,
        stores: Stores,
        options: BuildOptions,
        given: BuildInput,
        progress: Progress,
        on_failure: Callable[[Place], None] | None = None,
        at_work: AtWork | None = None,
    ) -> None:
        """``at_work`` is shared with other builds that go on at once, and whose results ``stores`` holds, too."""
        self._at_work = at_work
        self._on_failure = on_failure
        self._stores = stores
        self._options = options
        self._given = given
        self._progress = progress
        self._records = Records(stores.database)
        self.bases = Bases(stores, given.sources.layouts, "always" if options.pull else "missing", at_work)
        self.platforms = platforms(options.platform, stores.platform)
        self._targets: list[Lowered] = []
        self._verdicts: Mapping[Vertex, Verdict] = {}
        self._outcomes: Mapping[Vertex, Outcome] = {}
        self._ids: Mapping[Vertex, int] = {}
        self._beside = 0
        self.image_id = self.digest = ""  # of what it was put out as
        self._runs = run_settings(options)
        self._credentials: Credentials | None = None
        if options.secrets or options.ssh:
            self._credentials = self._open_credentials()
        self.imports: CacheImports | None = None
        if options.cache_from:
            from cais.engine.cache_import import CacheImports

            self.imports = CacheImports(stores, options.cache_from, progress, self.platforms, self.bases.keep)

    def _open_credentials(self) -> Credentials:
        from cais.engine.build_credentials import credentials

        return credentials(self._options.secrets, self._options.ssh, self._options.environment)

    def solve(self, *, images: bool = True) -> list[Built]:
        """Every platform's target, in the order in which the platforms were asked for. ``images``: they will be put
        out as such, with the layers of their bases."""
        vertices, verdicts = self.plan()
        ids = self._ids
        brought = self._bring(vertices, verdicts, images)
        while not self._import(vertices, verdicts):
            verdicts = self._verdicts = self._held(vertices)
            brought |= self._bring(vertices, verdicts, images)
        self._show_hits([vertex for vertex in vertices if vertex not in brought], verdicts, ids)
        results = {vertex: verdict.result for vertex, verdict in verdicts.items() if verdict.result is not None}
        open = [target for target in self._target_vertices if verdicts[target].state != "hit"]
        if open:
            results.update(self._solve(vertices, verdicts, open, ids))
        built = [
            Built(platform, lowered, results[lowered.vertex].chain if lowered.vertex is not None else None, results)
            for platform, lowered in zip(self.platforms, self._targets, strict=True)
        ]
        if self.imports is not None:
            self.imports.settle(results)
        return built

    def _bring(self, vertices: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict], images: bool) -> set[Vertex]:
        """Fetches the images of registries that are read; of those that only cached steps stand on nothing is."""
        wanted = {vertex.op: vertex for vertex in self.to_fetch(vertices, verdicts, images)}.values()
        if wanted:
            from cais.engine.build_pull import bring_all

            self._stores.snapshots.reach()  # before the first thread
            with Explained(self._given):
                bring_all(self.bases, wanted, named(self._progress, self._ids), self._ids)
        return set(wanted)

    def to_fetch(self, vertices: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict], images: bool) -> list[Vertex]:
        """The images whose layers ``solve`` would have to fetch, were all of it done as it was planned."""
        sources = [
            vertex for vertex in vertices if isinstance(vertex.op, SourceImage) and self.bases.is_elsewhere(*vertex.op)
        ]
        if not sources:
            return []
        read = {item for vertex in needed(self._target_vertices, verdicts) for item in vertex.inputs}
        standing = {(lowered.base_reference, lowered.base_platform) for lowered in self._targets} if images else set()
        return [vertex for vertex in sources if vertex in read or vertex.op in standing]

    def _import(self, vertices: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict]) -> bool:
        """Brings what is read of imported caches, be it by a step or as the result; False where the plan was wrong."""
        if self.imports is None:
            return True
        again = needed(self._target_vertices, verdicts)
        read = {item for vertex in again for item in vertex.inputs if item is not None}
        wanted = [verdicts[vertex] for vertex in vertices if vertex in read or vertex in self._target_vertices]
        return self.imports.bring(verdict.result for verdict in wanted if verdict.result is not None)

    def _ensure(self, chain: Digest) -> None:
        """What is not here yet is brought: of a base image, or of an imported cache."""
        self.bases.ensure(chain)
        if self.imports is not None:
            self.imports.ensure(chain)

    def _solve(
        self,
        vertices: Sequence[Vertex],
        verdicts: Mapping[Vertex, Verdict],
        targets: Sequence[Vertex],
        ids: Mapping[Vertex, int],
    ) -> Mapping[Vertex, Result]:
        from cais.build.execute import OpExecutor
        from cais.engine.build_network import StepNetworks
        from cais.runtime.runner import Runtime

        self._stores.snapshots.reach()  # before the first thread
        again = needed(targets, verdicts)
        self._enter([vertex for vertex in again if isinstance(vertex.op, Exec)])
        runtime = Runtime(self._stores.root, self._stores.settings.runtime)
        mounts: dict[str, Any] = {}
        if any(isinstance(vertex.op, Exec) and vertex.op.mounts for vertex in again):
            from cais.volume.store import VolumeStore

            self._credentials = self._credentials or self._open_credentials()
            volumes = VolumeStore(self._stores.root, self._stores.database)
            mounts = {"volumes": volumes, "credentials": self._credentials}
        networks = StepNetworks(self._stores, runtime, self._progress, names_host=self._runs.names_host)
        executor = OpExecutor(
            self._stores.snapshots,
            runtime,
            self._given.contexts,
            self._progress,
            ensure=self._ensure,
            base_time=self.bases.time,
            can_ensure=self.imports.hold if self.imports is not None else lambda chain: False,
            listing_of=self._records.listing,
            epoch=self._options.epoch,
            settings=step_settings(self._options),
            keep_failed=self._on_failure is not None,
            networks=networks,
            **mounts,
        )
        shown = named(self._progress, ids)
        solver = Solver(self._planner, self._records, executor, shown, ids, self._options.workers, self._at_work)
        self._outcomes = solver.outcomes
        try:
            with Explained(self._given):
                solver.solve(vertices, verdicts, *targets)
        except CaisError as error:
            self._show_failed(executor, runtime, error)
            raise
        finally:
            executor.drop_failed()
            networks.close()
            runtime.close()
            if self._credentials is not None:
                self._credentials.close()
        return solver.results

    def _show_failed(self, executor: OpExecutor, runtime: Runtime, error: CaisError) -> None:
        failed = executor.failed
        if failed is None or self._on_failure is None:
            return
        from cais.engine.build_debug import Place

        self._on_failure(Place.of_failed(failed, executor.open_failed, runtime, self._stores.snapshots, error))

    def _enter(self, runs: Sequence[Vertex]) -> None:
        """What is mounted goes with this process. Raises Denied, with the line of the first of ``runs``."""
        mounting = bool(self._stores.snapshots.driver.opaque)  # found out before the first thread
        if not runs and not mounting:
            return
        from cais.host.namespaces import enter

        with Explained(self._given):
            try:
                enter()
            except CaisError as error:
                error.span = min((vertex.origin[:2] for vertex in runs), default=None)
                raise
            if any(isinstance(vertex.op, Exec) and vertex.op.platform for vertex in runs):
                from cais.engine.build_emulation import ensure_runnable

                ensure_runnable(runs, self._stores.platform)

    def plan(self, *, hold: bool = True) -> tuple[list[Vertex], dict[Vertex, Verdict]]:
        """The vertices that the targets need, inputs first, and their verdicts.

        What is a hit is held from now on; without ``hold`` nothing is written, and it may be gone soon.
        """
        with Explained(self._given):
            self._lower()
            vertices = reachable(*self._target_vertices)
            shown = (vertex for vertex in vertices if not vertex.origin.is_internal)
            self._ids = {vertex: number for number, vertex in enumerate(shown, 1)}
            self._given.sources.fetch(vertices, self._given.contexts, named(self._progress, self._ids), self._ids)
            facts = self._facts(vertices)
            lookup = _Lookup(self._records, self._given.contexts, facts, self.imports)
            self._planner = Planner(facts, lookup, self._given.scope, changes, self._given.place)
            verdicts = self._held(vertices) if hold else self._planner.plan(vertices)
        self._verdicts = verdicts
        return vertices, verdicts

    def _held(self, vertices: Sequence[Vertex]) -> dict[Vertex, Verdict]:
        """The plan, with its hits held."""
        verdicts = self._planner.plan(vertices)
        while not self._hold(verdicts):
            verdicts = self._planner.plan(vertices)
        return verdicts

    @property
    def made_something(self) -> bool:
        """Whether any step was looked at again: else the cache is what it was."""
        return bool(self._outcomes)

    def step(self, name: str) -> Step:
        """Something that this build does beside its Dockerfile's steps, with a number of its own."""
        self._beside += 1
        return Step(self._progress, len(self._ids) + self._beside, name)

    def steps(self) -> tuple[BuildStep, ...]:
        """What became of each step so far, inputs first."""
        return steps_of(self._verdicts, self._outcomes, self._ids)

    def described(self) -> dict[str, Any]:
        """What the build's record says of it."""
        return {
            "options": options_kept(self._options),
            "dockerfile": {
                "name": self._given.dockerfile_name,
                "path": self._given.place,
                "text": shown_source(self._given.source),
            },
            "platforms": [str(platform) for platform in self.platforms],
            "steps": [step.to_json() for step in self.steps()],
            "result": {"image_id": self.image_id, "digest": self.digest, "names": list(self._options.tags)},
        }

    def _lower(self) -> None:
        dockerfile = parse(self._given.source)
        # The same finding of every platform is one.
        checks = Checks.of(dockerfile, self._options.build_args, self._given.contexts.own.leaves_out)
        try:
            targets = [self._lower_for(dockerfile, platform, checks) for platform in self.platforms]
        finally:
            for warned in checks.heeded:
                from cais.build.checks.rules import event_of

                self._progress(event_of(warned))
        if len(targets) > 1:
            from cais.build.sharing import shared

            targets = shared(targets)
        self._targets = targets

    def _lower_for(self, dockerfile: Dockerfile, platform: Platform, checks: Checks) -> Lowered:
        lowered = lower(
            dockerfile,
            base=self.bases.config,
            platform=platform,
            build_platform=self._stores.platform,
            build_args=self._options.build_args,
            labels=self._options.labels,
            target=self._options.target,
            runs=self._runs,
            contexts=self._given.sources.lowered,
            several=len(self.platforms) > 1,
            checks=checks,
        )
        # As with BuildKit, an image is said to be of the platform that was asked for, whatever its base is.
        return lowered._replace(platform=platform) if self._options.platform else lowered

    @property
    def _target_vertices(self) -> list[Vertex]:
        return list(dict.fromkeys(lowered.vertex for lowered in self._targets if lowered.vertex is not None))

    def _hold(self, verdicts: Mapping[Vertex, Verdict]) -> bool:
        """Keeps the hits from the collector; False where it was faster, and the plan is not true any more."""
        hits = [verdict.result for verdict in verdicts.values() if verdict.result is not None]
        with self._stores.database.transaction() as change:
            for result in hits:
                if result.chain is not None:
                    self._stores.leases.hold(change, f"chain:{result.chain}")
            lent = self.imports.lent if self.imports is not None else ()
            keys = [result.layer.key for result in hits if result.layer is not None and result.layer.key not in lent]
            return self._records.touch(change, keys)

    def _facts(self, vertices: Sequence[Vertex]) -> Facts:
        """Reads what planning needs to know: which layers the base images have, what the copied files are."""
        bases = {}
        selections = {}
        for vertex in vertices:
            if isinstance(vertex.op, SourceImage):
                bases[vertex] = self.bases.image(*vertex.op).chain
            elif isinstance(vertex.op, Copy) and vertex.op.from_context and vertex.op.sources:
                try:
                    selections[vertex] = self._given.contexts.digest(vertex)
                except CaisError as error:
                    error.span = error.span or vertex.origin[:2]
                    raise
        stages = frozenset(
            name.strip().lower() for text in self._options.no_cache_filter for name in text.split(",") if name.strip()
        )
        return Facts(bases, selections, self._options.epoch, self._options.no_cache, stages)

    def _show_hits(
        self, vertices: Sequence[Vertex], verdicts: Mapping[Vertex, Verdict], ids: Mapping[Vertex, int]
    ) -> None:
        again = needed(self._target_vertices, verdicts)
        show = named(self._progress, ids)
        for vertex in vertices:
            if vertex not in again and not vertex.origin.is_internal and not isinstance(vertex.op, FETCHED):
                show({"event": "start", "id": ids[vertex]})
                show({"event": "cached", "id": ids[vertex]})


class _Lookup:
    """The records; of the files that are there now, their context knows the listing."""

    def __init__(self, records: Records, contexts: Contexts, facts: Facts, imports: CacheImports | None) -> None:
        self.find = records.find if imports is None else lambda key: records.find(key) or imports.find(key)
        self.earlier = records.earlier
        self.pruned = records.pruned
        self._records = records
        self._contexts = contexts
        self._vertices = {digest: vertex for vertex, digest in facts.selections.items()}

    def listing(self, digest: str) -> bytes | None:
        vertex = self._vertices.get(Digest(digest))
        if vertex is None or not isinstance(vertex.op, Copy) or vertex.op.more:
            return self._records.listing(digest)
        return self._contexts.of(vertex).listing(vertex.op)
