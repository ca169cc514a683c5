"""Building an image: context, Dockerfile, graph, plan, solve, assemble, tag."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cais.build.records import Records
from cais.engine.build_input import open_input
from cais.engine.build_log import BuildLog, BuildRow, builds, events
from cais.engine.build_options import BuildOptions, refuse_not_built_yet
from cais.engine.build_record import BuildStep
from cais.engine.build_run import Run
from cais.engine.stores import Stores
from cais.errors import Unsupported
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress, silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from cais.build.outline import Outline, Target
    from cais.engine.build_checks import CheckReport, Finding

    Seen = TypeVar("Seen")


__all__ = ["BuildOptions", "BuildResult", "Builder", "PlannedStep"]


class BuildResult(NamedTuple):
    """``image_id`` and ``digest`` are "" where only files were put out. ``build_id`` names the kept log and record;
    ``steps`` are what became of each step, and why."""

    image_id: str
    digest: str
    names: tuple[str, ...]
    build_id: str
    seconds: float
    steps: tuple[BuildStep, ...] = ()


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
                run = Run(stores, options, given, log.progress)
                if len(run.platforms) > 1:
                    raise Unsupported("several platforms at once are not in this version of cais")
                log.described = run.described
                image_id, digest = put_out(stores, options, names, run.solve(), run.bases)
                log.image = run.image_id = image_id
                run.digest = digest
        finally:
            stores.leases.release()
        return BuildResult(
            image_id, digest, tuple(name.familiar for name in names), log.id, time.monotonic() - started, run.steps()
        )

    def plan(self, options: BuildOptions) -> list[PlannedStep]:
        """What ``build`` would do, and why; runs and writes nothing of the image."""
        self._stores.database.require_own()
        stores = self._stores.apart()
        try:
            with open_input(stores, options, "") as given:
                run = Run(stores, options, given, silent)
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

    def prune(self) -> int:
        """Forgets the build cache; returns the bytes of layers and blobs that nothing else needed."""
        from cais.engine.collect import collect

        Records(self._stores.database).prune()
        return self._stores.sources.forget() + collect(self._stores).size_bytes
