"""One health check of a container that runs: ``ROOT DRIVER RUNTIME CONTAINER`` (``ContainerRuns.command``).

Between two checks this process is a shell that sleeps (``container.watch``).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.stores import Stores


def main(arguments: list[str]) -> int:
    """0 where the container has ended, or another process checks it; else this process becomes the next wait."""
    from cais.engine.container_runs import ENVIRONMENT
    from cais.engine.settings import Settings
    from cais.engine.stores import Stores
    from cais.errors import CaisError

    root, driver, runtime, id = arguments
    stores = Stores(Settings(root, driver, runtime))
    try:
        after = check(stores, id)
    except CaisError:
        return 1
    finally:
        stores.close()
    if after:
        os.execve(after[0], after, ENVIRONMENT)
    return 0


def check(stores: Stores, id: str) -> list[str]:
    """Checks, and notes what was found. What this process has to execute next; nothing where it is not wanted any more.

    Raises NotFound and what the root directory's files may give.
    """
    import time

    from cais.container import probe, waiting, watch
    from cais.container.health import Health
    from cais.container.plan import Plan
    from cais.engine.container_runs import ContainerRuns
    from cais.host.processes import is_ending
    from cais.runtime.bundles import read_configuration

    runs = ContainerRuns(stores)
    runs.enter()
    record = runs.records.get(id)
    directory = runs.store.directory(record.id)
    plan = Plan.from_json(record.plan)
    if plan.health is None:
        return []
    with runs.store.locked(record) as record:  # a start that is under way comes to its end first
        pass
    state = runs.store.state(record)
    if not watch.is_wanted(directory) or not state.is_up:
        return []
    health = watch.read(directory) or Health()

    def stands_still() -> bool:
        return runs.store.state(record).status == "paused"

    bundle = runs.runtime.opened(record.id)
    given = read_configuration(bundle.directory)
    if state.process is not None and state.status == "running" and given is not None:
        pid = state.process.pid
        result = probe.run(runs.runtime, bundle, record.plan, plan.health, given["process"], pid, stands_still)
        # What was found while it was paused, or at its end, says nothing: what ends it kills the check, too.
        if not watch.is_wanted(directory):
            return []
        now = runs.store.state(record)
        if result is not None and now == state and not is_ending(state.process):
            found = health.after(plan.health, result, record.started)
            watch.write(directory, found)
            if found.status != health.status:
                runs.store.happenings.container(f"health_status: {found.status}", record)
            health = found
    wait = plan.health.wait_seconds(health.status, time.time() - record.started)
    return waiting.delayed(wait, runs.command("health", record.id))
