"""What a Dockerfile offers to whoever builds it: its targets, and the arguments, secrets and agents that one takes.

A description is the comment right above a FROM or ARG that begins with its name.
"""

from __future__ import annotations

from cais.build.checks.text import comments_above
from cais.build.dockerfile.errors import Span
from cais.build.dockerfile.expand import ExpansionError, expand
from cais.build.dockerfile.parser import Dockerfile
from cais.build.graph import Exec, Vertex, reachable
from cais.build.lower import Lowering
from cais.spec.named import NamedTuple


class TargetArgument(NamedTuple):
    """A build argument with the value that it would have."""

    name: str
    value: str
    description: str
    span: Span


class TargetMount(NamedTuple):
    """A secret or an agent that a RUN asks for."""

    name: str
    required: bool
    span: Span


class Outline(NamedTuple):
    """What building one target takes; each list by line. ``name`` is "" for a stage without one."""

    name: str
    description: str
    arguments: tuple[TargetArgument, ...]
    secrets: tuple[TargetMount, ...]
    ssh: tuple[TargetMount, ...]


class Target(NamedTuple):
    """A stage. ``base`` and ``platform`` are as written; ``default`` is the one that is built without ``--target``."""

    name: str
    description: str
    default: bool
    base: str
    platform: str
    span: Span


def targets(dockerfile: Dockerfile) -> list[Target]:
    """The stages in the order of the file."""
    above = comments_above(dockerfile)
    last = len(dockerfile.stages) - 1
    return [
        Target(
            stage.name,
            _description(above, stage.name, stage.head.span),
            stage.number == last,
            stage.head.base,
            stage.head.platform,
            stage.head.span,
        )
        for stage in dockerfile.stages
    ]


def outline(lowering: Lowering) -> Outline:
    """Of the target that ``lowering`` has lowered."""
    dockerfile = lowering.dockerfile
    above = comments_above(dockerfile)
    found: dict[str, tuple[str, Span]] = {}
    for number in sorted(lowering.states, reverse=True):
        stage, state = dockerfile.stages[number], lowering.states[number]
        for name, (value, span) in state.defined.items():
            found.setdefault(name, (value or "", span))
        used = _used(stage.head.base, lowering) | _used(stage.head.platform, lowering) | set(state.declared)
        for name in _all_used(used, lowering):
            for declared in dockerfile.globals:
                if any(name == item for item, _ in declared.pairs):
                    found.setdefault(name, (lowering.globals.get(name, ""), declared.span))
    target = dockerfile.stages[lowering.target]
    return Outline(
        target.name,
        _description(above, target.name, target.head.span),
        tuple(
            sorted(
                (
                    TargetArgument(name, value, _description(above, name, span), span)
                    for name, (value, span) in found.items()
                ),
                key=lambda item: item.span,
            )
        ),
        _mounts(lowering.states[lowering.target].vertex, "secret"),
        _mounts(lowering.states[lowering.target].vertex, "ssh"),
    )


def _description(above: dict[int, list[str]], name: str, span: Span) -> str:
    for comment in above.get(span.first_line, ()):
        if name and comment.startswith(name + " "):
            return comment[len(name) :].strip()
    return ""


def _used(text: str, lowering: Lowering) -> set[str]:
    try:
        return set(expand(text, lowering.globals, escape=lowering.dockerfile.escape).used) if "$" in text else set()
    except ExpansionError:
        return set()


def _all_used(names: set[str], lowering: Lowering) -> set[str]:
    """With those that the values of the global ones are made of."""
    for instruction in reversed(lowering.dockerfile.globals):
        for name, default in reversed(instruction.pairs):
            if name in names and default and name not in lowering.build_args:
                names = names | _used(default, lowering)
    return names


def _mounts(target: Vertex | None, kind: str) -> tuple[TargetMount, ...]:
    found: dict[str, TargetMount] = {}
    for vertex in reachable(target):
        for mount in vertex.op.mounts if isinstance(vertex.op, Exec) else ():
            if mount.kind == kind:
                known = found.get(mount.id, TargetMount(mount.id, False, Span(*vertex.origin[:2])))
                found[mount.id] = known._replace(required=known.required or mount.required)
    return tuple(sorted(found.values(), key=lambda item: item.span))
