"""``container exec``: another process in a container that runs."""

from __future__ import annotations

import os

from cais.container import exec as execution
from cais.container.options import ExecOptions, parse_environment
from cais.errors import Conflict
from cais.host.files import random_name
from cais.runtime.bundles import read_configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.container.records import ContainerRecord
    from cais.engine.container_runs import ContainerRuns
    from cais.runtime.runner import Streams


def execute(runs: ContainerRuns, name: str, options: ExecOptions, streams: Streams) -> int | None:
    """The exit code, 0 for one that was detached, None where the detach keys were pressed.

    The runtime is started as soon as it is known of which container, and comes up beside all the rest: whether that
    runs, what is to be run in it. Raises NotFound, Conflict (it does not run, or is paused); with exit code 126 or 127
    where it did not start.
    """
    runs.runtime.foresee()
    record = runs.records.get(name)
    keys = None
    if options.tty and options.interactive and not options.detach:
        from cais.container import detach_keys

        wanted = detach_keys.DEFAULT if options.detach_keys is None else options.detach_keys
        keys = detach_keys.DetachKeys(detach_keys.parse(wanted))
    runs.enter_beside(record)
    runtime = runs.runtime
    bundle = runtime.opened(record.id)
    if not os.path.isdir(bundle.directory):
        _first_process(runs, record, name)  # there is none: this says why
    id = random_name(32)

    def process() -> dict[str, Any]:
        pid = _first_process(runs, record, name)
        started_with = read_configuration(bundle.directory)
        if started_with is None:
            raise Conflict(f"container {record.id} is not running")
        plan, added = record.plan, parse_environment(options)
        user = execution.look_up(plan, options, pid)
        return execution.process(started_with["process"], plan, options, added, user, runtime.host.capabilities)

    def tell() -> None:
        runs.happenings.executes(record, id, options.command)

    if options.detach:
        from cais.engine.container_runs import ENVIRONMENT

        after = runs.command("exec_ended", record.id, id)
        execution.run_detached(runtime, bundle, id, process, tell, after, ENVIRONMENT, terminal=options.tty)
        return 0
    given = streams if options.interactive else streams._replace(stdin=-1)
    code = execution.run(runtime, bundle, id, process, tell, given, terminal=options.tty, keys=keys)
    if code is not None:
        runs.happenings.container("exec_die", record, execID=id, exitCode=str(code))
    return code


def _first_process(runs: ContainerRuns, record: ContainerRecord, name: str) -> int:
    """The pid of a container that runs. Raises Conflict; ``name`` is what the user calls it."""
    from cais.container.state import look

    state = look(record, runs.runtime, runs.directory)
    if state.status == "restarting":
        raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
    if state.process is None:
        raise Conflict(f"container {record.id} is not running")
    if state.status == "paused":
        raise Conflict(f"Container {name} is paused, unpause the container before exec")
    return state.process.pid
