"""With the host: containers are started whose restart policy says so, and stopped before it goes down."""

from __future__ import annotations

from collections.abc import Iterator

from cais.container import ending
from cais.container.records import ContainerRecord
from cais.container.restart import BY_SHUTDOWN, RestartPolicy, at_boot
from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.errors import CaisError
from cais.spec.named import NamedTuple

_STOPPED_AT_ONCE = 16


class Outcome(NamedTuple):
    """Of one container; ``error`` says why it was not started or stopped."""

    name: str
    error: CaisError | None = None


def start_all(stores: Stores) -> Iterator[Outcome]:
    """Starts what is to run from boot and does not yet: those first that were started first, as others may need them.

    What is noted of the time before is corrected at first. Raises Denied.
    """
    runs = ContainerRuns(stores)
    runs.enter()
    runs.sweep()
    for record in sorted(runs.records.all(), key=lambda record: record.started):
        if not _is_wanted(record) or runs.store.state(record).is_up:
            continue
        try:
            runs.detached(record, lambda line: None)
        except CaisError as error:
            yield Outcome(record.name, error)
        else:
            yield Outcome(record.name)


def _is_wanted(record: ContainerRecord) -> bool:
    known = record.plan.get("restart")
    policy = RestartPolicy() if known is None else RestartPolicy.from_json(known)
    return at_boot(policy, record.restarts, was_started=record.started > 0)


def stop_all(stores: Stores) -> list[Outcome]:
    """Stops all that runs, many at once, each in its own time; for ``start_all`` none of them was stopped by hand."""
    from concurrent.futures import ThreadPoolExecutor

    runs = ContainerRuns(stores)
    runs.enter()
    store = runs.store  # made here, and used by all threads

    def stop(record: ContainerRecord) -> Outcome:
        try:
            ending.stop(store, record, how=BY_SHUTDOWN)
        except CaisError as error:
            return Outcome(record.name, error)
        return Outcome(record.name)

    running = [record for record in runs.records.running() if store.state(record).is_up]
    with ThreadPoolExecutor(_STOPPED_AT_ONCE) as threads:
        return list(threads.map(stop, running))
