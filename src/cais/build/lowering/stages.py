"""Which stages the target needs, what each begins with, and which triggers its base sets off.

Stages depend on earlier ones only, so one pass from the target back to the first finds all that is needed; nothing is
asked about bases that are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cais.build.checks.report import Checks
from cais.build.dockerfile.errors import BaseNotFound, DockerfileError, Span, did_you_mean
from cais.build.dockerfile.expand import ExpansionError, expand
from cais.build.dockerfile.instructions import Copy, From, Instruction, OnBuild, Run
from cais.build.dockerfile.parser import Dockerfile, Stage, parse_trigger
from cais.errors import CaisError, Invalid, NotFound
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform
from cais.spec.reference import Reference

SCRATCH = "scratch"
_IMAGE = "docker-image://"
Base = Callable[[str, Platform], ImageConfig]


class Image:
    """An image that a stage begins with or that a COPY reads from. ``config`` is asked for once."""

    __slots__ = ("config", "platform", "reference")

    def __init__(self, reference: str, platform: Platform, config: ImageConfig) -> None:
        self.reference = reference
        self.platform = platform
        self.config = config


class Begun:
    """A stage with its beginning settled. One of ``image``, ``parent``, ``directory`` says it; none: scratch."""

    __slots__ = ("directory", "head", "image", "instructions", "parent", "platform", "stage", "triggers")

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.head = stage.head
        self.image: Image | None = None
        self.parent: int | None = None
        self.directory = ""  # a named context of files
        self.platform: Platform | None = None
        self.instructions: Sequence[Instruction] = stage.instructions
        self.triggers: tuple[Instruction, ...] = ()


class Stages:
    """The stages of a Dockerfile with FROM lines expanded by the global arguments."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        arguments: Mapping[str, str],
        base: Base,
        platform: Platform,
        contexts: Mapping[str, str],
        checks: Checks,
    ) -> None:
        self.dockerfile = dockerfile
        self.arguments = arguments
        self.platform = platform
        self.contexts = {context_key(name): (name, value) for name, value in contexts.items()}
        self._checks = checks
        self._base = base
        self._images: dict[tuple[str, Platform], Image] = {}
        self._names: dict[str, list[int]] = {}
        for stage in dockerfile.stages:
            if stage.name:
                self._names.setdefault(stage.name, []).append(stage.number)
        self._check_circles()

    def target(self, name: str) -> int:
        """The number of the stage called ``name`` (or numbered so); "" is the last. Raises Invalid."""
        stages = self.dockerfile.stages
        if not name:
            return len(stages) - 1
        found = self._names.get(name.lower())
        if found:
            return found[-1]
        if name.isascii() and name.isdigit() and len(name) < 9 and int(name) < len(stages):
            return int(name)
        known = list(self._names)
        hint = f"The stages are {', '.join(known[:20])}." if known else "No stage of this Dockerfile has a name."
        raise Invalid(f'target stage "{name}" could not be found{did_you_mean(name, known)}', hint=hint)

    def needed(self, *targets: int) -> dict[int, Begun]:
        """The targets and all that they need, in the order of the file. Asks for bases. Raises DockerfileError."""
        wanted = set(targets)
        begun: dict[int, Begun] = {}
        for number in range(max(targets), -1, -1):
            if number in wanted:
                begun[number] = stage = self._begin(self.dockerfile.stages[number])
                wanted |= self._read_by(stage, number)
        for other in self.dockerfile.stages:
            if other.number not in begun:
                self._check_names(other)
        return dict(sorted(begun.items()))

    def _check_names(self, stage: Stage) -> None:
        """As in BuildKit, what a stage that is not needed begins with or reads has to have a name that can be."""
        head = stage.head
        platform = self._platform_of(head) or self.platform
        if not (stage.name and self.context(stage.name, platform)):
            name = self._base_name(head)
            earlier = any(number < stage.number for number in self._names.get(name, ()))
            if not earlier and name != SCRATCH and not self.context(name, platform):
                self._reference(name, head.span)
        for instruction in stage.instructions:
            names: list[int | str] = []
            if isinstance(instruction, Copy) and instruction.stage:
                names.append(self.source(instruction, stage.number))
            elif isinstance(instruction, Run):
                names += [
                    self.mounted(item.source_name, stage.number) for item in instruction.mounts if item.source_name
                ]
            for found in names:
                if isinstance(found, str) and found != SCRATCH and not self.context(found):
                    self._reference(found, instruction.span)

    def _read_by(self, begun: Begun, number: int) -> set[int]:
        """The stages whose files a stage needs."""
        read = set() if begun.parent is None else {begun.parent}
        for instruction in (*begun.triggers, *begun.instructions):
            names: list[int | str] = []
            if isinstance(instruction, Copy) and instruction.stage:
                names.append(self.source(instruction, number))
            elif isinstance(instruction, Run):
                names += [self.mounted(item.source_name, number) for item in instruction.mounts if item.source_name]
            read.update(name for name in names if isinstance(name, int))
        return read

    def mounted(self, name: str, number: int) -> int | str:
        """What ``from`` of a mount means in stage ``number``: the number of a stage, or a name that is none.

        It knows stages by name only. One that stands below is found, and not lowered yet.
        """
        found = [] if self.context(name) else self._names.get(name.lower(), [])
        earlier = [item for item in found if item < number]
        if earlier:
            return earlier[-1]
        return found[0] if found else name

    def source(self, instruction: Copy, number: int) -> int | str:
        """What ``--from`` means in stage ``number``: the number of an earlier stage, or a name that is none."""
        name, span = instruction.stage, instruction.span
        try:
            expanded = expand(name, {}, escape=self.dockerfile.escape).text
        except ExpansionError:
            expanded = ""
        if expanded != name:
            raise DockerfileError(
                f'failed to parse stage name "{name}": variable expansion is not supported for --from',
                span,
                hint="Define a stage with FROM using an ARG from before the first FROM, and copy from that stage.",
            )
        if self._is_scratch(name, self.platform):
            name = SCRATCH
        elif self.context(name):
            return name
        digits = name[1:] if name[:1] in ("+", "-") else name
        if digits.isascii() and digits.isdigit():
            if len(name) > 8 or not 0 <= int(name) < len(self.dockerfile.stages):
                raise DockerfileError(f"invalid stage index {name}", span)
            found = [int(name)]
        else:
            found = self._names.get(name.lower(), [])
        if not found:
            if name == SCRATCH:
                raise DockerfileError("scratch is empty: nothing can be copied from it", span)
            return name
        earlier = [item for item in found if item < number]
        if earlier:
            return earlier[-1]
        here = self.dockerfile.stages[number].name or f"stage-{number}"
        raise DockerfileError(
            f'cannot copy from stage "{name}", it needs to be defined before current stage "{here}"', span
        )

    def image(self, name: str, platform: Platform, span: Span) -> Image:
        """The image called ``name``. Raises DockerfileError (no name), BaseNotFound, what ``base`` raises."""
        context = self.context(name, platform)
        if context and context[1].startswith(_IMAGE):
            name = context[1][len(_IMAGE) :]
        reference = self._reference(name, span)
        key = (reference, platform)
        if key not in self._images:
            try:
                self._images[key] = Image(reference, platform, self._base(reference, platform))
            except NotFound as error:
                meant = did_you_mean(name, self._names)
                raise BaseNotFound(error.message + meant, span, hint=error.hint)
            except CaisError as error:
                error.message += did_you_mean(name, self._names)
                error.span = error.span or span
                raise
        return self._images[key]

    def _reference(self, name: str, span: Span) -> str:
        try:
            return str(Reference.parse(name))
        except Invalid as error:
            hint = f"FROM calls the stage {name.lower()}." if name.lower() in self._names else error.hint
            raise DockerfileError(f'failed to parse stage name "{name}": {error.message}', span, hint=hint)

    def context(self, name: str, platform: Platform | None = None) -> tuple[str, str] | None:
        """The named context that stands for ``name``: what it is called, and its value. One for the platform first."""
        if not self.contexts:
            return None
        key = context_key(name)
        return self.contexts.get(f"{key}::{platform or self.platform}") or self.contexts.get(key)

    def directory(self, name: str, platform: Platform | None = None) -> str:
        """What the named context of files is called that stands for ``name``; "" where there is none."""
        context = self.context(name, platform)
        return context[0] if context and not context[1].startswith(_IMAGE) else ""

    def _is_scratch(self, name: str, platform: Platform) -> bool:
        """Whether a named context says that ``name`` stands for nothing: docker-image://scratch."""
        context = self.context(name, platform)
        return context is not None and context[1] == _IMAGE + SCRATCH

    def is_directory(self, name: str) -> bool:
        return bool(self.directory(name))

    def _expand(self, text: str, head: From) -> str:
        return self._expanded(text, head)[0]

    def _expanded(self, text: str, head: From) -> tuple[str, str]:
        """``text``, and what may have been meant by a name in it that nothing has a value for."""
        try:
            result = expand(text, self.arguments, escape=self.dockerfile.escape)
        except ExpansionError as error:
            raise DockerfileError(str(error), head.span)
        meant = (did_you_mean(name, self.arguments) for name in sorted(result.unset))
        return result.text, next(filter(None, meant), "")

    def _platform_of(self, head: From) -> Platform | None:
        """What ``--platform`` says."""
        if not head.platform:
            return None
        text, meant = self._expanded(head.platform, head)
        if not text:
            raise DockerfileError(f"empty platform value from expression {head.platform}{meant}", head.span)
        try:
            return Platform.parse(text, self.platform)
        except Invalid as error:
            raise DockerfileError(
                f"failed to parse platform {head.platform}: {error.message}{meant}", head.span, hint=error.hint
            )

    def _base_name(self, head: From) -> str:
        name = self._expand(head.base, head)
        if not name:
            raise DockerfileError(f"base name ({head.base}) should not be blank", head.span)
        return name

    def _begin(self, stage: Stage) -> Begun:
        begun = Begun(stage)
        head = stage.head
        begun.platform = self._platform_of(head)
        platform = begun.platform or self.platform
        if stage.name and self.context(stage.name, platform):
            # --build-context replaces the whole stage.
            begun.instructions = ()
            begun.directory = self.directory(stage.name, platform)
            if not begun.directory and not self._is_scratch(stage.name, platform):
                begun.image = self.image(stage.name, platform, head.span)
            return begun
        name = self._base_name(head)
        # As for BuildKit: stages are called by small letters here, and in any case elsewhere.
        earlier = [number for number in self._names.get(name, ()) if number < stage.number]
        if earlier:
            begun.parent = earlier[-1]
            parent = self.dockerfile.stages[begun.parent]
            begun.triggers = tuple(
                item.instruction._replace(span=head.span)
                if item.instruction is not None
                else parse_trigger(item.trigger, head.span)
                for item in parent.instructions
                if isinstance(item, OnBuild)
            )
        elif self._is_scratch(name, platform):
            pass
        elif name != SCRATCH and (directory := self.directory(name, platform)):
            begun.directory = directory
        elif name != SCRATCH:
            try:
                begun.image = self.image(name, platform, head.span)
            except CaisError as error:
                later = self._names.get(name.lower())
                if later:
                    line = self.dockerfile.stages[later[0]].head.span.first_line
                    error.message += f', and the stage "{name}" (line {line}) is not before this one'
                    error.hint = "A stage can only begin with one that stands above it: stages cannot be circular."
                raise
            begun.triggers = tuple(
                parse_trigger(text, head.span) for text in begun.image.config.run.get("OnBuild") or ()
            )
            found = begun.image.config.platform
            if (found.os, found.architecture) != (platform.os, platform.architecture):
                from cais.build.checks.steps import invalid_base_image_platform

                invalid_base_image_platform(name, found, platform, self._checks, head.span)
        return begun

    def _check_circles(self) -> None:
        """What is read from a later stage, or from the same, may close a circle. Raises DockerfileError."""
        edges: dict[int, list[tuple[int, Instruction]]] = {}
        forward = False
        for stage in self.dockerfile.stages:
            found = edges.setdefault(stage.number, [])
            if stage.head.base in self._names:
                found += [(n, stage.head) for n in self._names[stage.head.base] if n < stage.number][-1:]
            for item in stage.instructions:
                for name, numbers in self._named_by(item):
                    if self.context(name):
                        continue
                    earlier = [n for n in numbers if n < stage.number]
                    found += [(n, item) for n in (earlier[-1:] or numbers[-1:]) if n < len(self.dockerfile.stages)]
                    forward = forward or bool(numbers and not earlier)
        if not forward:
            return
        done: set[int] = set()
        for start in edges:
            path = [start]
            todo = [list(edges[start])]
            while todo:
                if not todo[-1]:
                    done.add(path.pop())
                    todo.pop()
                    continue
                number, item = todo[-1].pop()
                if number in path:
                    name = self.dockerfile.stages[number].name or f"stage-{number}"
                    raise DockerfileError(f"circular dependency detected on stage: {name}", item.span)
                if number not in done:
                    path.append(number)
                    todo.append(list(edges[number]))

    def _named_by(self, item: Instruction) -> list[tuple[str, list[int]]]:
        """What an instruction reads from, and the stages that may be meant."""
        if isinstance(item, Copy) and item.stage:
            numbers = self._names.get(item.stage.lower(), [])
            if item.stage.isascii() and item.stage.isdigit() and len(item.stage) < 9:
                numbers = [int(item.stage)]
            return [(item.stage.lower(), numbers)]
        if isinstance(item, Run):
            names = [mount.source_name.lower() for mount in item.mounts]
            return [(name, self._names.get(name, [])) for name in names if name]
        return []


def context_key(name: str) -> str:
    """What all ways to write one image have in common, as Docker has it: ``docker.io/library/alpine:latest`` is
    ``alpine``. A platform may follow: ``alpine::linux/arm64``."""
    name, colons, platform = name.partition("::")
    try:
        name = Reference.parse(name).familiar.removesuffix(":latest")
    except Invalid:
        pass  # it stands for nothing
    return name + colons + platform
