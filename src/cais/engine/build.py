"""Building an image: context, Dockerfile, graph, plan, solve, assemble, tag."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from cais.engine.build_log import BuildLog, BuildRow, builds, events
from cais.engine.build_options import BuildOptions
from cais.engine.stores import Stores
from cais.spec.descriptor import Descriptor
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from typing import Any, TypeVar

    from cais.build.at_work import AtWork
    from cais.build.graph import Vertex
    from cais.build.outline import Outline, Target
    from cais.build.plan import Verdict
    from cais.build.reasons import Reason
    from cais.engine.bake import Baked
    from cais.engine.build_attest import Attests
    from cais.engine.build_bound import BuilderInfo
    from cais.engine.build_cache import CacheEntry
    from cais.engine.build_checks import CheckReport, Finding
    from cais.engine.build_debug import Place, Wanted
    from cais.engine.build_prune import PruneOptions, PruneReport
    from cais.engine.build_record import BuildStep
    from cais.engine.cache_options import CacheTarget
    from cais.engine.context_report import ContextReport

    Seen = TypeVar("Seen")


__all__ = ["BuildOptions", "BuildResult", "Builder", "PlannedStep"]


class BuildResult(NamedTuple):
    """``image_id`` is the config's digest, of several platforms their index's; ``digest`` is that of ``target``.

    They are "" and None where only files were put out. ``target`` is what the names point at: a manifest, or the index
    of several platforms. ``build_id`` names the kept log and record;
    ``steps`` are what became of each step, and why. ``provenance`` is by platform, where it was asked for.
    """

    image_id: str
    digest: str
    names: tuple[str, ...]
    build_id: str
    seconds: float
    steps: tuple[BuildStep, ...] = ()
    target: Descriptor | None = None
    provenance: Mapping[str, Any] = {}

    def metadata(self) -> dict[str, Any]:
        """What ``--metadata-file`` has, by buildx's keys."""
        from cais.spec.media_types import INDEXES
        from cais.spec.reference import Reference

        found: dict[str, Any] = {}
        for platform, predicate in self.provenance.items():
            found["buildx.build.provenance" + (f"/{platform}" if len(self.provenance) > 1 else "")] = predicate
        # Tools take what is behind the last slash: it is what `builder` commands know the build by.
        found["buildx.build.ref"] = f"default/default/{self.build_id}"
        if self.target is not None:
            if self.target.media_type not in INDEXES:
                found["containerimage.config.digest"] = self.image_id
            found["containerimage.descriptor"] = self.target.to_json()
            found["containerimage.digest"] = self.digest
        if self.names:
            found["image.name"] = ",".join(str(Reference.parse(name)) for name in self.names)
        return found


class PlannedStep(NamedTuple):
    """One step as ``build --plan`` shows it; ``state`` is ``hit``, ``miss``, ``pending`` (it depends on what a step
    before it gives) or ``fetch`` (an image whose layers are not here). ``causes`` are the reasons as data."""

    name: str
    line: int
    state: str
    reasons: tuple[str, ...]
    causes: tuple[Reason, ...] = ()


class Builder:
    """Builds, and what is kept of builds. What only looks at what is kept loads nothing that builds."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def build(
        self,
        options: BuildOptions,
        progress: Progress = silent,
        on_failure: Callable[[Place], None] | None = None,
    ) -> BuildResult:
        """``on_failure`` is handed the place of a RUN that failed, before that is raised.

        Raises Invalid (Dockerfile, options), NotFound (base image, files), Failed (a RUN step), Unavailable, ..."""
        # What this build holds is let go at its end, however long the engine lives.
        stores = self._stores.apart()
        try:
            result, made_something = build_in(stores, options, progress, on_failure)
        finally:
            stores.leases.release()
        if made_something:
            self._enforce()
        return result

    def bake(self, baked: Baked, progress: Callable[[str], Progress]) -> dict[str, BuildResult]:
        """Builds the targets of bake files (``cais.engine.bake``) in their order; ``progress`` gives each its display.

        What they share is built once. Raises as ``build``.
        """
        from cais.engine.bake import build_targets

        stores = self._stores.apart()
        try:
            results, made_something = build_targets(stores, baked, progress)
        finally:
            stores.leases.release()
        if made_something:
            self._enforce()
        return results

    def _enforce(self) -> None:
        from cais.engine.build_bound import enforce

        enforce(self._stores)

    def plan(self, options: BuildOptions) -> list[PlannedStep]:
        """What ``build`` would do, and why. Runs and writes nothing, but for what ADD fetches from elsewhere."""
        from cais.engine.build_input import open_input
        from cais.engine.build_run import Run
        from cais.engine.build_settings import check_settings
        from cais.engine.output_options import Output

        check_settings(options)
        stores = self._stores.apart()
        try:
            with open_input(stores, options, "") as given:
                given.contexts.own.only_read()
                run = Run(stores, options, given, silent)
                vertices, verdicts = run.plan(hold=False)
                images = not options.outputs or any(Output.parse(text).makes_image for text in options.outputs)
                fetched = run.to_fetch(vertices, verdicts, images)
                shown = [vertex for vertex in vertices if not vertex.origin.is_internal]
                return [_planned(vertex, verdicts, vertex in fetched) for vertex in shown]
        finally:
            stores.leases.release()

    def check(self, options: BuildOptions) -> list[Finding]:
        """What the build checks find; builds nothing, and needs no base image. Raises Invalid where it cannot be built.

        With ``# check=error=true`` that is so when anything is found.
        """
        report = self.check_report(options)
        if report.error is not None:
            raise report.error
        return [*report.findings]

    def check_report(self, options: BuildOptions) -> CheckReport:
        """What ``check`` finds, what is wrong with the Dockerfile besides, and the Dockerfile."""
        from cais.engine.build_checks import check

        return self._looking(check, options)

    def outline(self, options: BuildOptions) -> tuple[Outline, bytes]:
        """The build arguments, secrets and agents that the target takes, and the Dockerfile. Raises Invalid."""
        from cais.engine.build_checks import outline

        return self._looking(outline, options)

    def context(self, options: BuildOptions) -> ContextReport:
        """What lies in the context, what the target reads of it, which rules leave out the rest. Raises as ``plan``."""
        from cais.engine.context_report import report

        return self._looking(report, options)

    def targets(self, options: BuildOptions) -> tuple[list[Target], bytes]:
        """The stages that can be built, and the Dockerfile. Raises Invalid."""
        from cais.engine.build_checks import targets

        return self._looking(targets, options)

    def _looking(self, look: Callable[[Stores, BuildOptions], Seen], options: BuildOptions) -> Seen:
        stores = self._stores.apart()
        try:
            return look(stores, options)
        finally:
            stores.leases.release()

    def list(self) -> list[BuildRow]:
        """The builds whose logs are kept, the latest first."""
        return builds(self._stores)

    def log(self, build: str = "") -> Iterator[dict[str, Any]]:
        """The progress events of a kept build (default: the latest). Raises NotFound."""
        return events(self._stores, build)

    def debug(self, wanted: Wanted, action: Callable[[Place], int]) -> int:
        """``action`` in the file system of a step of a kept build; what it returns. Raises NotFound, Invalid."""
        from cais.engine.build_debug import debug

        stores = self._stores.apart()
        try:
            return debug(stores, wanted, action)
        finally:
            stores.leases.release()

    def record(self, build: str = "") -> dict[str, Any]:
        """What is kept of a build beside its log (``cais.engine.build_record``), by its id, the start of it, or ``^1``
        for the one before the last. Raises NotFound, Invalid."""
        from cais.engine.build_history import record

        return record(self._stores, build)

    def forget(self, builds: Sequence[str] | None) -> builtins.list[str]:
        """Removes logs and records of builds (None: of all that do not run), not what they built; returns their ids.

        Raises NotFound, Invalid, Conflict.
        """
        from cais.engine.build_history import remove

        return remove(self._stores, builds)

    def cache(self, filters: Sequence[str] = ()) -> Sequence[CacheEntry]:
        """What is kept for later builds, the last used first. ``filters`` as of ``prune``. Raises Invalid."""
        from cais.engine.build_cache import entries

        if not filters:
            return entries(self._stores)
        from cais.engine.build_cache_filter import parse_filters

        fits = parse_filters(filters, time.time())
        return [entry for entry in entries(self._stores) if fits(entry)]

    def about(self) -> BuilderInfo:
        """What builds here, for which platforms, and the bounds of its cache."""
        from cais.engine.build_bound import builder_info

        return builder_info(self._stores)

    def prune(self, options: PruneOptions | None = None, command: str = "cais builder prune") -> PruneReport:
        """Forgets what ``options`` say of the build cache (default: what no image has). Raises Invalid.

        ``command`` is who did it, for those who miss something later.
        """
        from cais.engine.build_prune import PruneOptions, prune

        return prune(self._stores, options or PruneOptions(), command)


def build_in(
    stores: Stores,
    options: BuildOptions,
    progress: Progress = silent,
    on_failure: Callable[[Place], None] | None = None,
    at_work: AtWork | None = None,
) -> tuple[BuildResult, bool]:
    """One build, all that it holds held by the lease of ``stores``; and whether anything had to be made for it.

    ``at_work`` is shared with other builds that go on at once with the same ``stores``.
    """
    from cais.engine.build_input import open_input
    from cais.engine.build_options import platforms
    from cais.engine.build_output import OutputRun
    from cais.engine.build_run import Run
    from cais.engine.build_settings import check_settings
    from cais.engine.build_sources import shown_text
    from cais.engine.output_options import parse_outputs

    started = time.monotonic()
    outputs = parse_outputs(options, len(platforms(options.platform, stores.platform)))
    attests = _attests(options)
    names = [name for output in outputs for name in output.references(options.tags)]
    name = names[0].familiar if names else shown_text(options.context)
    caches = _cache_targets(options)
    check_settings(options)
    with (
        BuildLog(stores, name, progress) as log,
        open_input(stores, options, log.directory, log.progress) as given,
    ):
        run = Run(stores, options, given, log.progress, on_failure, at_work)
        log.described = run.described
        attestor = teller = None
        if attests is not None or options.result_provenance:
            from cais.engine.build_attest import Attestor, Attests

            teller = Attestor(attests or Attests(), stores, options, given, run.bases)
            attestor = teller if attests is not None else None
        built = run.solve(images=any(output.makes_image for output in outputs))
        inline = None
        if any(target.kind == "inline" for target in caches):
            from cais.engine.cache_export import cached_layers

            inline = cached_layers(stores, built, run.imports, all=False)
        if options.epoch is None and any(output.rewrite_timestamp for output in outputs):
            message = "rewrite-timestamp is specified, but no source-date-epoch was found"
            log.progress({"event": "warning", "message": message, "line": 0})
        product = OutputRun(stores, options, built, run.bases, attestor, inline, run.step).run(outputs)
        for target in caches:
            if target.kind != "inline":
                from cais.engine.cache_export import export

                export(stores, target, built, run.imports, log.progress, run.step)
        said = {}
        if teller is not None and options.result_provenance:
            full = options.result_provenance == "max"
            said = {str(item.lowered.platform): teller.provenance(item, full=full) for item in built}
        log.image = run.image_id = product.image_id
        run.digest = product.target.digest if product.target is not None else ""
    if product.names:
        from cais.engine.image_events import tell

        for reference in product.names:
            tell(stores, "tag", product.image_id, reference.familiar)
    result = BuildResult(
        product.image_id,
        run.digest,
        tuple(name.familiar for name in product.names),
        log.id,
        time.monotonic() - started,
        run.steps(),
        product.target,
        said,
    )
    return result, run.made_something


def _attests(options: BuildOptions) -> Attests | None:
    if not options.attest:
        return None
    from cais.engine.build_attest import Attests

    attests = Attests.parse(options.attest)
    return attests if attests.any else None


def _cache_targets(options: BuildOptions) -> Sequence[CacheTarget]:
    if not (options.cache_to or options.cache_from):
        return ()
    from cais.engine.cache_options import CacheSource, CacheTarget

    for text in options.cache_from:
        CacheSource.parse(text)  # what is wrong with it is said before anything is done
    return [CacheTarget.parse(text) for text in options.cache_to]


def _planned(vertex: Vertex, verdicts: Mapping[Vertex, Verdict], is_fetched: bool) -> PlannedStep:
    verdict = verdicts[vertex]
    state, causes = verdict.state, verdict.reasons
    if is_fetched:
        from cais.build.reasons import NOT_HERE

        state, causes = "fetch", (NOT_HERE,)
    elif state == "pending":
        from cais.build.reasons import Reason

        first = [item for item in vertex.inputs if item is not None and verdicts[item].result is None]
        causes = tuple(
            Reason("it depends on what this step gives:", item.origin.title, kind="pending") for item in first
        )
    return PlannedStep(vertex.origin.title, vertex.origin.first_line, state, tuple(map(str, causes)), causes)
