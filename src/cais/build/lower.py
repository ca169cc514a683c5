"""Dockerfile to build graph. Pure: base images' configs are handed in; nothing is read, run or asked for elsewhere.

What the language has and this version does not build is refused here by name, before anything runs; in stages that
the target does not need it is not even noticed, as in Docker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cais.build.checks.report import Checks
from cais.build.checks.text import check_heads, check_text
from cais.build.dockerfile.errors import DockerfileError, Span
from cais.build.dockerfile.expand import ExpansionError, expand
from cais.build.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from cais.build.dockerfile.parser import Dockerfile
from cais.build.graph import Copy as CopyOp
from cais.build.graph import LocalSource, Op, Origin, SourceImage, Vertex
from cais.build.lowering import config, files, process
from cais.build.lowering.arguments import global_arguments, platform_arguments, proxy_environment, unconsumed
from cais.build.lowering.result import HistoryEntry, Lowered, LoweredStage
from cais.build.lowering.stages import SCRATCH, Begun, Stages
from cais.build.lowering.state import StageState, unicode_only
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.lowering.mounts import Mounts

# The instructions that rules look at whatever their values are.
_CHECKED = (Arg, Cmd, Entrypoint, Env, Healthcheck, Label)
_CONFIG: dict[type, Callable[..., None]] = {
    Env: config.env,
    Label: config.label,
    Maintainer: config.maintainer,
    User: config.user,
    Cmd: config.cmd,
    Entrypoint: config.entrypoint,
    Expose: config.expose,
    Volume: config.volume,
    Shell: config.shell,
    StopSignal: config.stop_signal,
    Healthcheck: config.healthcheck,
    OnBuild: config.on_build,
    Workdir: files.workdir,
}


def lower(
    dockerfile: Dockerfile,
    *,
    base: Callable[[str, Platform], ImageConfig],
    platform: Platform,
    build_platform: Platform,
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    target: str = "",
    runs: process.RunSettings = process.DEFAULTS,
    contexts: Mapping[str, str] | None = None,
    several: bool = False,
    checks: Checks | None = None,
    every_stage: bool = False,
) -> Lowered:
    """The graph of the stage ``target`` (a name or a number; "" is the last).

    ``base(reference, platform)`` gives the config of an image that the target needs, by its name in full, and raises
    NotFound. ``runs`` is what RUN gets that asks for nothing itself. ``contexts`` are the named contexts: a name to
    ``docker-image://...`` or, for a directory of files, anything without a scheme; they stand before stages and images.
    ``several``: it is one of several platforms, and the titles of steps say which. ``checks`` gathers what deserves a
    warning. ``every_stage``: those that the target does not need are lowered, too, for the sake of what is found there.

    Raises DockerfileError and its kin (``Located``: with the lines), Invalid for a target that is not there.
    """
    return Lowering(
        dockerfile,
        base,
        platform,
        build_platform,
        dict(build_args or {}),
        target,
        runs,
        dict(contexts or {}),
        several,
        Checks.of(dockerfile, build_args or {}) if checks is None else checks,
    ).lower(dict(labels or {}), every_stage)


class Lowering:
    """One Dockerfile for one platform: the arguments are those of ``lower``. After ``lower`` it knows its stages."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        base: Callable[[str, Platform], ImageConfig],
        platform: Platform,
        build_platform: Platform,
        build_args: dict[str, str],
        target: str,
        runs: process.RunSettings,
        contexts: dict[str, str],
        several: bool,
        checks: Checks,
    ) -> None:
        self.dockerfile = dockerfile
        self.platform = platform
        self.build_platform = build_platform
        self.several = several
        self.build_args = build_args
        self.runs = runs
        self.proxies = proxy_environment(build_args)
        self.checks = checks
        check_text(dockerfile, checks)
        last = dockerfile.stages[-1]
        self.platform_args = platform_arguments(platform, build_platform, target or last.name)
        self.globals = global_arguments(self.platform_args, dockerfile.globals, build_args, self.global_value)
        self.stages = Stages(dockerfile, self.globals, base, platform, contexts, checks)
        check_heads(dockerfile, checks, self.globals, self.defaults())
        self.target = self.stages.target(target)
        self.states: dict[int, StageState] = {}
        self.sources: dict[str, Vertex | None] = {}
        self.fetched: dict[Op, Vertex] = {}
        self.mounted: dict[tuple[Vertex | None, str], Vertex] = {}

    def global_value(self, text: str, arguments: Mapping[str, str], instruction: Arg) -> str:
        try:
            return expand(text, arguments, escape=self.dockerfile.escape).text
        except ExpansionError as error:
            raise DockerfileError(str(error), instruction.span)

    def defaults(self) -> Mapping[str, str] | None:
        """What FROM lines would see if nothing were given; None where that cannot be said."""
        if not self.build_args:
            return self.globals
        platform_args = {name: self.globals.get(name, value) for name, value in self.platform_args.items()}
        try:
            return global_arguments(platform_args, self.dockerfile.globals, {}, self.global_value)
        except DockerfileError:
            return None

    def lower(self, labels: dict[str, str], every_stage: bool) -> Lowered:
        """Raises DockerfileError and its kin."""
        targets = range(len(self.dockerfile.stages)) if every_stage else (self.target,)
        needed = self.stages.needed(*targets)
        alone = len(self.dockerfile.stages) == 1 and not any(
            (isinstance(item, Copy) and item.stage) or (isinstance(item, Run) and item.mounts)
            for item in self.dockerfile.stages[0].instructions
        )
        shown: list[LoweredStage] = []
        for number, begun in needed.items():
            state = StageState(
                "" if alone else begun.stage.name or f"stage-{number}", self.dockerfile.escape, self.checks
            )
            state.total = _steps(begun)
            state.build_platform = self.build_platform
            state.prefix = self.several
            shown.append(LoweredStage(number, state.name, state.total, begun.head.span.first_line))
            self.begin(state, begun)
            state.trigger = True
            for instruction in begun.triggers:
                self.instruction(state, instruction, number)
            state.trigger = False
            for instruction in begun.instructions:
                self.instruction(state, instruction, number)
            self.states[number] = state
        state = self.states[self.target]
        triggers = [item for begun in needed.values() for item in begun.triggers if isinstance(item, Arg)]
        for warned in unconsumed(self.dockerfile, triggers, self.platform_args, self.build_args):
            self.checks.add(warned)
        self.checks.refuse()
        return Lowered(
            state.vertex,
            state.finished_run(labels),
            tuple(HistoryEntry(unicode_only(entry.created_by), entry.vertex) for entry in state.history),
            state.platform,
            state.base_reference,
            state.base,
            unicode_only(state.author),
            self.checks.heeded,
            tuple(shown),
            state.base_platform,
        )

    def begin(self, state: StageState, begun: Begun) -> None:
        """FROM."""
        head = begun.head
        if begun.parent is not None:
            state.start_from_stage(self.states[begun.parent])
            return
        state.platform = begun.platform or self.platform
        if begun.directory:
            origin = state.next_step(head.span, f"FROM {begun.directory}")
            state.start_from_image(None)
            state.add(CopyOp((".",), "/"), (self.directory(begun.directory),), origin, f"COPY {begun.directory} /")
            return
        if begun.image is None:
            state.start_from_image(None)
            state.platform = self.platform
            return
        image = begun.image
        found = image.config.platform
        if found.os and found.architecture:
            state.platform = found
        state.start_from_image(image.config)
        state.unknown = image.reference in self.checks.unknown
        state.base, state.base_reference, state.base_platform = image.config, image.reference, image.platform
        origin = state.next_step(head.span, f"FROM {image.reference}")
        if image.config.diff_ids:
            state.vertex = Vertex(SourceImage(image.reference, image.platform), (), origin)

    def instruction(self, state: StageState, instruction: Instruction, number: int) -> None:
        if isinstance(instruction, _CHECKED):
            from cais.build.checks.steps import check_step

            check_step(instruction, self.checks, shell=bool(state.run.get("Shell")), once=state.once)
        function = _CONFIG.get(type(instruction))
        if function is not None:
            function(state, instruction)
        elif isinstance(instruction, Run):
            process.run(state, instruction, self.runs, self.proxies, self.run_mounts(state, instruction, number))
        elif isinstance(instruction, Copy):
            files.copy(state, instruction, self.copied_from(instruction, number))
        elif isinstance(instruction, Add):
            files.add(state, instruction, self.directory(""), self.fetched)
        elif isinstance(instruction, Arg):
            self.argument(state, instruction)

    def argument(self, state: StageState, instruction: Arg) -> None:
        """ARG: the command line's value, else the default, else what the name has above the first FROM."""
        words: list[str] = []
        for name, default in instruction.pairs:
            value: str | None
            if name in self.build_args:
                value = self.build_args[name]
            elif default is not None:
                value = state.expand(default, instruction.span)
            else:
                value = self.globals.get(name)
            state.args[name] = value
            if default is not None or name in self.build_args or value is None:
                state.defined[name] = (value, instruction.span)
            state.declared.append(name)
            if value is not None:
                state.env[name] = value
            words.append(name if value is None else f"{name}={value}")
        state.note("ARG " + " ".join(words))

    def copied_from(self, instruction: Copy, number: int) -> Vertex | None:
        if not instruction.stage:
            return self.directory("")
        return self.source(self.stages.source(instruction, number), instruction.span)

    def run_mounts(self, state: StageState, instruction: Run, number: int) -> Mounts | None:
        if not instruction.mounts:
            return None
        from cais.build.lowering.mounts import run_mounts

        def named(name: str, target: str) -> Vertex | None:
            if name in ("", SCRATCH):
                return None if name else self.directory("")
            source = self.stages.mounted(name, number)
            if isinstance(source, int) and source >= number:
                raise DockerfileError(
                    f'cannot mount from stage "{name}" to "{target}", stage needs to be defined before current command',
                    instruction.span,
                )
            return self.source(source, instruction.span)

        return run_mounts(state, instruction, named, self.mounted)

    def source(self, source: int | str, span: Span) -> Vertex | None:
        """The file system of a stage, a named context or an image."""
        if isinstance(source, int):
            return self.states[source].vertex
        if directory := self.stages.directory(source):
            return self.directory(directory)
        image = self.stages.image(source, self.platform, span)
        if image.reference not in self.sources:
            vertex = None
            if image.config.diff_ids:
                origin = Origin(*span, f"FROM {image.reference}", "")
                vertex = Vertex(SourceImage(image.reference, image.platform), (), origin)
            self.sources[image.reference] = vertex
        return self.sources[image.reference]

    def directory(self, name: str) -> Vertex:
        """A context's files; "" is the build's own."""
        key = "\0" + name
        found = self.sources.get(key)
        if found is None:
            text = f"load build context {name}".rstrip()
            found = self.sources[key] = Vertex(LocalSource(name), (), Origin(0, 0, text, "internal"))
        return found


def _steps(begun: Begun) -> int:
    """As BuildKit counts: the base image, what changes files, and every trigger."""
    steps = 0 if begun.parent is not None or (begun.image is None and not begun.directory) else 1
    steps += len(begun.triggers)
    return steps + sum(isinstance(item, (Run, Copy, Add, Workdir)) for item in begun.instructions)
