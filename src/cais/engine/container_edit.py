"""``container edit``: other ports, mounts, variables for a container that is there, as one step.

Its id, name, file system, volumes and log stay. The plan is replaced in one transaction; one that runs is stopped for
it and started again, and where it does not start, the old plan comes back, and it runs as before.
"""

from __future__ import annotations

from collections.abc import Callable

from cais.container import ending
from cais.container.edit import Edits, edited
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.container.restart import BY_SHUTDOWN
from cais.engine.container_mounts import check_mounts
from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.errors import CaisError, Conflict, Failed

__all__ = ["Edits", "edit"]


def edit(stores: Stores, runs: ContainerRuns, name: str, edits: Edits, warn: Callable[[str], None]) -> None:
    """Raises NotFound, Invalid; Conflict for one that is paused, or would be gone with its end; Failed with what kept
    the edited one from starting."""
    runs.enter()
    record = runs.records.get(name)
    was_up = _check(runs, record)
    old = Plan.from_json(record.plan)
    edits = edits._replace(wanted=edits.wanted._replace(image=record.image_name, remove=record.auto_remove))
    new = edited(old, edits, record.id)
    new = check_mounts(stores, new) if new.mounts else new
    if new == old:
        return
    if was_up:
        # Not by hand: should this command be killed here, the container is one that a boot starts.
        ending.stop(runs.store, record, how=BY_SHUTDOWN)
    runs.store.replace_plan(record, new)
    if not was_up:
        return
    try:
        runs.detached(runs.records.get(record.id), warn)
    except BaseException as error:
        runs.store.replace_plan(runs.records.get(record.id), old)
        runs.detached(runs.records.get(record.id), lambda line: None)
        if not isinstance(error, CaisError):
            raise
        raise Failed(
            f"the container did not start with the change: {error.message}", hint="It runs again as it was before."
        )


def _check(runs: ContainerRuns, record: ContainerRecord) -> bool:
    """Whether it is up."""
    state = runs.store.state(record)
    if state.status == "paused":
        raise Conflict(f"the container {record.name} is paused", hint=f"Unpause it first: cais unpause {record.name}")
    if state.is_up and record.auto_remove:
        raise Conflict(
            f"the container {record.name} runs, and is removed with its end (--rm)",
            hint="It would have to end for being edited. Run another one with the flags that you want.",
        )
    return state.is_up
