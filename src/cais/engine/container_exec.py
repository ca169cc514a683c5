"""``container exec``: another process in a container that runs."""

from __future__ import annotations

from cais.container import exec as execution
from cais.container.options import ExecOptions, parse_environment
from cais.container.state import look
from cais.errors import Conflict
from cais.host.files import random_name
from cais.runtime.bundles import read_configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.container.attach import Streams
    from cais.engine.container_runs import ContainerRuns


def execute(runs: ContainerRuns, name: str, options: ExecOptions, streams: Streams) -> int | None:
    """The exit code, 0 for one that was detached, None where the detach keys were pressed.

    Raises NotFound, Conflict (it does not run, or is paused); with exit code 126 or 127 where it did not start.
    """
    runs.runtime.foresee()
    record = runs.records.get(name)
    added = parse_environment(options)
    keys = None
    if options.tty and options.interactive and not options.detach:
        from cais.container import detach_keys

        wanted = detach_keys.DEFAULT if options.detach_keys is None else options.detach_keys
        keys = detach_keys.DetachKeys(detach_keys.parse(wanted))
    runtime = runs.runtime
    state = look(record, runtime, runs.directory)
    if state.status == "restarting":
        raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
    if state.process is None:
        raise Conflict(f"container {record.id} is not running")
    if state.status == "paused":
        raise Conflict(f"Container {name} is paused, unpause the container before exec")
    runs.enter_beside(record)
    bundle = runtime.opened(record.id)
    id, pid = random_name(32), state.process.pid
    words = " ".join(options.command)

    def process() -> dict[str, Any]:
        started_with = read_configuration(bundle.directory)
        if started_with is None:
            raise Conflict(f"container {record.id} is not running")
        plan = record.plan
        user = execution.look_up(plan, options, pid)
        made = execution.process(started_with["process"], plan, options, added, user, runtime.host.capabilities)
        runs.happenings.container(f"exec_create: {words}", record, execID=id)
        runs.happenings.container(f"exec_start: {words}", record, execID=id)
        return made

    if options.detach:
        from cais.engine.container_runs import ENVIRONMENT

        after = runs.command("exec_ended", record.id, id)
        execution.run_detached(runtime, bundle, id, process, after, ENVIRONMENT, terminal=options.tty)
        return 0
    given = streams if options.interactive else streams._replace(stdin=-1)
    code = execution.run(runtime, bundle, id, process, given, terminal=options.tty, keys=keys)
    if code is not None:
        runs.happenings.container("exec_die", record, execID=id, exitCode=str(code))
    return code
