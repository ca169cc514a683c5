"""The record of a build: what was asked for, and what became of each step. Kept beside the build's log, as
``builds/<id>/record.json``, and readable by its owner alone: a RUN's environment is in it.

What is secret does not come in: of ``--secret`` and ``--ssh`` the ids are kept, of proxies and URLs no credentials, of
build arguments that are called like secrets no value. A process that is killed leaves no record; its log is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from cais.build.graph import Exec, ExecMount, Vertex
from cais.build.plan import Verdict
from cais.build.secret_names import looks_secret
from cais.build.solve import Outcome
from cais.engine.build_options import BuildOptions
from cais.engine.build_sources import shown_text
from cais.errors import CaisError
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.reasons import Reason

VERSION = 1
FILE = "record.json"
HIDDEN = "(hidden)"
# What a build is asked for and its record does not say: where it is read from, and what has secrets.
_NOT_KEPT = frozenset(
    ("stdin", "stdout", "environment", "workers", "secrets", "ssh", "build_args", "contexts", "limits")
)


class BuildStep(NamedTuple):
    """What became of one vertex. ``id`` is its number in the progress, too; ``inputs`` are ids, 0 for scratch.

    ``number`` of ``total`` in ``stage``; ``lines`` are the first and the last in the Dockerfile. ``op`` is the class of
    its operation in ``cais.build.graph``. ``state`` is hit, miss (it was carried out), failed, cancelled, or pending
    (never begun). ``started`` is in seconds since 1970, 0 for what took no time. ``size_bytes`` is what it adds.
    ``chain_id`` is its file system ("": empty, or none), ``run`` what a RUN was given: args, env, cwd, user, mounts.
    """

    id: int
    stage: str
    number: int
    total: int
    lines: tuple[int, int]
    text: str
    title: str
    op: str
    state: str
    key: str = ""
    inputs: tuple[int, ...] = ()
    reasons: tuple[Reason, ...] = ()
    started: float = 0.0
    seconds: float = 0.0
    size_bytes: int = 0
    chain_id: str = ""
    run: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """With the reasons as objects that say themselves in words, too."""
        reasons = [{**reason._asdict(), "text": str(reason)} for reason in self.reasons]
        return {**self._asdict(), "reasons": reasons}


def steps_of(
    verdicts: Mapping[Vertex, Verdict], outcomes: Mapping[Vertex, Outcome], ids: Mapping[Vertex, int]
) -> tuple[BuildStep, ...]:
    """The steps of a build that was planned, and solved or not, inputs first. Contexts get ids above all others."""
    numbers = dict(ids)
    for vertex in verdicts:
        numbers.setdefault(vertex, len(numbers) + 1)
    return tuple(_step(vertex, verdict, outcomes.get(vertex), numbers) for vertex, verdict in verdicts.items())


def _step(vertex: Vertex, verdict: Verdict, outcome: Outcome | None, numbers: Mapping[Vertex, int]) -> BuildStep:
    state, reasons, seconds = verdict.state, verdict.reasons, 0.0
    layer = verdict.result.layer if verdict.result is not None else None
    if outcome is not None:
        state, seconds, layer = outcome.state, outcome.seconds, outcome.layer
        reasons = outcome.verdict.reasons
        if state == "hit":
            from cais.build.reasons import SAME

            reasons = (SAME,)
    elif state == "miss":
        state = "pending"
    origin, op = vertex.origin, vertex.op
    chain = layer.chain_id if layer is not None else verdict.result.chain if verdict.result is not None else None
    return BuildStep(
        numbers[vertex],
        origin.stage,
        origin.step,
        origin.total,
        (origin.first_line, origin.last_line),
        origin.text,
        origin.title,
        type(op).__name__,
        state,
        (outcome.verdict if outcome is not None else verdict).key,
        tuple(0 if item is None else numbers[item] for item in vertex.inputs),
        reasons,
        outcome.started if outcome is not None else 0.0,
        seconds,
        layer.size_bytes if layer is not None else 0,
        chain or "",
        _run(op) if isinstance(op, Exec) else None,
    )


def _run(op: Exec) -> dict[str, Any]:
    """What is there to be run again by hand (``builder debug``); what is not there is the default."""
    kept: dict[str, Any] = {"args": op.args, "env": dict(op.env), "cwd": op.cwd, "user": op.user}
    others = ("scripts", "security", "hosts", "devices", "hostname")
    kept.update((name, value) for name in others if (value := getattr(op, name)))
    if op.network != "default":
        kept["network"] = op.network
    if op.mounts:
        kept["mounts"] = [_mount(mount) for mount in op.mounts]
    return kept


def _mount(mount: ExecMount) -> dict[str, Any]:
    usual = ExecMount._field_defaults
    return {name: value for name, value in mount._asdict().items() if name not in usual or value != usual[name]}


def options_kept(options: BuildOptions) -> dict[str, Any]:
    """What a build was asked for, as far as it differs from nothing, and without what is secret."""
    kept: dict[str, Any] = {}
    for name, value in zip(BuildOptions._fields, options, strict=True):
        if name in _NOT_KEPT or not value or value == BuildOptions._field_defaults[name]:
            continue
        kept[name] = [_without_secrets(text) for text in value] if isinstance(value, (list, tuple)) else value
    limits = {name: value for name, value in options.limits._asdict().items() if value}
    if limits:
        kept["limits"] = limits
    kept["context"] = shown_text(options.context)
    if options.build_args:
        kept["build_args"] = {
            name: HIDDEN if looks_secret(name) else shown_text(value) for name, value in options.build_args.items()
        }
    if options.contexts:
        kept["contexts"] = {name: shown_text(value) for name, value in options.contexts.items()}
    for name in ("secrets", "ssh"):
        ids = [_id(text) for text in getattr(options, name)]
        if ids:
            kept[name] = ids
    return kept


def _id(text: str) -> str:
    """Of ``id=NAME,src=..`` and of ``default=/socket`` the name."""
    for field in text.split(","):
        if field.startswith("id="):
            return field[3:]
    return text.partition("=")[0].partition(",")[0]


def _without_secrets(text: str) -> str:
    """Of ``type=s3,bucket=b,secret_access_key=..`` the last value is hidden, as are credentials in URLs."""
    fields = []
    for field in text.split(","):
        name, equals, value = field.partition("=")
        hidden = equals and looks_secret(name)
        shown = f"{name}={HIDDEN}" if hidden else name + equals + shown_text(value)
        fields.append(shown if equals else shown_text(field))
    return ",".join(fields)


def error_kept(error: BaseException) -> dict[str, Any]:
    """What went wrong, with the marked lines."""
    kept: dict[str, Any] = {"message": str(error) or type(error).__name__}
    if isinstance(error, CaisError):
        kept.update(message=error.message, hint=error.hint, span=error.span, lines=str(getattr(error, "lines", "")))
    return kept


def write(directory: str, record: Mapping[str, Any]) -> None:
    """Whole or not at all. A build does not fail for its record: a full disk is the step's to tell."""
    path = os.path.join(directory, FILE)
    try:
        descriptor = os.open(f"{path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(record, separators=(",", ":")))
        os.rename(f"{path}.part", path)
    except OSError:
        try:
            os.unlink(f"{path}.part")
        except OSError:
            pass


def read(directory: str) -> dict[str, Any] | None:
    """None where there is none, or another version's."""
    try:
        with open(os.path.join(directory, FILE), encoding="ascii") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("version") == VERSION else None
