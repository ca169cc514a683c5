"""``container update``: other limits for a container, at once where it runs, and from its next start on."""

from __future__ import annotations

import os

from cais.container.options import RunOptions
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.engine.container_runs import ContainerRuns
from cais.errors import CaisError, Failed
from cais.runtime import limits
from cais.runtime.failures import logged
from cais.runtime.limits import Resources
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.runtime.runner import Runtime

# No limit, in a way that crun writes, too: the kernel has no more processes than this.
_ALL_PROCESSES = 1 << 22


class UpdateOptions(NamedTuple):
    """``limits`` are the fields of RunOptions that Docker's ``update`` has; ``pids_limit`` and ``restart`` None is as
    it was."""

    limits: RunOptions
    pids_limit: int | None = None
    restart: str | None = None


def update(runs: ContainerRuns, id: str, wanted: UpdateOptions) -> tuple[str, ...]:
    """Lines for the user about what this host cannot limit. What cannot be done leaves all as it was.

    Raises NotFound, Invalid, Conflict, Failed with Docker's words.
    """
    from cais.container import resources
    from cais.container.restart import for_update, parse

    record = runs.records.get(id)
    try:
        resources.check_update(wanted.limits)
        policy = None if wanted.restart is None else parse(wanted.restart)
    except CaisError as error:
        raise type(error)(error.message, hint=error.hint)
    with runs.store.locked(record) as record:
        try:
            if wanted.restart is not None:
                for_update(wanted.restart, auto_remove=record.auto_remove)
            plan = Plan.from_json(record.plan)
            new = resources.updated(plan.resources, wanted.limits, wanted.pids_limit)
            warnings = _apply(runs, record, plan.resources, new) if new != plan.resources else ()
        except CaisError as error:
            raise type(error)(f"Cannot update container {record.id}: {error.message}", hint=error.hint)

        def changed(value: dict[str, Any]) -> dict[str, Any]:
            value = {**value, "resources": new._asdict()}
            return value if policy is None else {**value, "restart": policy.to_json()}

        runs.records.change_plan(record.id, changed)
    runs.store.happenings.container("update", record)
    return warnings


def _apply(runs: ContainerRuns, record: ContainerRecord, old: Resources, new: Resources) -> tuple[str, ...]:
    """To the control group of a container that runs."""
    if not runs.store.state(record).lives:
        return ()
    runs.enter_beside(record)
    runtime = runs.runtime
    lacking = limits.lacking(runtime.host.cgroup_mode)
    before, after = (limits.limits(wanted, runtime.host, lacking=lacking) for wanted in (old, new))
    if after.resources != before.resources:
        try:
            _write(runtime, record.id, _document(after.resources, before.resources))
        except CaisError:
            _undo(runtime, record.id, _document(before.resources, after.resources))
            raise
    return tuple(line for line in after.warnings if line not in before.warnings)


def _document(wanted: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """``wanted`` for a control group that has the limits ``now``."""
    if "pids" in now and "pids" not in wanted:
        return {**wanted, "pids": {"limit": _ALL_PROCESSES}}
    return wanted


def _undo(runtime: Runtime, id: str, document: dict[str, Any]) -> None:
    try:
        _write(runtime, id, document)
    except CaisError:
        pass  # what could not be changed before either


def _write(runtime: Runtime, id: str, document: dict[str, Any]) -> None:
    from cais.spec.encoding import encode

    bundle = runtime.opened(id)
    path, log = (os.path.join(bundle.directory, name) for name in ("update.json", "update.log"))
    try:
        with open(path, "wb") as file:
            file.write(encode(document))
        code = runtime.command("--log", log, "--log-format", "json", "update", "--resources", path, id)
        if code != 0:
            name = runtime.program(bundle).name
            raise Failed(f"{name} could not change its control groups: {logged(log) or f'exit code {code}'}")
    finally:
        for name in (path, log):
            if os.path.exists(name):
                os.unlink(name)
