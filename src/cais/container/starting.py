"""How a container starts and what is done after its end: under conmon, which outlives this command, or directly.

Directly runs what is removed with its end and has no terminal: nobody can tell the difference, and it is faster.
"""

from __future__ import annotations

import os
import time

from cais.container import prepare, state
from cais.container.networking import DEFAULT
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.container.restart import Restarts
from cais.errors import CaisError
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cais.container.store import Containers
    from cais.runtime.runner import Bundle, Streams


class Commands(NamedTuple):
    """What is run for a container's sake: by conmon after its end, and for each health check."""

    on_exit: Sequence[str]
    on_check: Sequence[str]
    environment: Mapping[str, str]


def directly(store: Containers, record: ContainerRecord, streams: Streams, warn: Callable[[str], None]) -> int:
    """Runs to the end, and keeps no log; the exit code. Raises with exit code 125, 126 or 127 where it did not start.

    Interrupted, or killed, it kills what runs.
    """
    from cais.container import foreground
    from cais.container.attach import Signals

    plan = Plan.from_json(record.plan)
    with store.locked(record) as record:
        try:
            _clear(store, record)
            ready = prepare.prepare(store.rooms, record, plan)
        except BaseException as error:
            _note_failure(store, record, error)
            raise
        # There is a bundle now, with this process as its owner: nobody takes the record for a dead one's.
        record = record._replace(state="running", started=time.time())
        store.records.set_started(record.id, record.started)
        store.rooms.volumes.let_go()
    for line in ready.warnings:
        warn(line)
    with Signals() as signals:
        try:
            if ready.connection.dns and (line := store.rooms.connections.await_names(record.id)):
                warn(line)
            code = foreground.run(
                store.rooms.runtime,
                ready,
                streams,
                signals,
                sig_proxy=plan.sig_proxy,
                on_begun=lambda: store.happenings.started(record, plan, attached=True),
            )
        except BaseException as error:
            _note_failure(store, record, error)
            prepare.undo(store.rooms, ready)
            raise
        store.ended(record, state.State("exited", code, time.time()))
        prepare.undo(store.rooms, ready, wait=False)
    return code


def under_conmon(
    store: Containers,
    record: ContainerRecord,
    warn: Callable[[str], None],
    commands: Commands,
    *,
    console_size: tuple[int, int] | None = None,
    before: Callable[[Bundle], None] | None = None,
    restarts: Restarts | None = None,
) -> bool:
    """Starts it; False where it was up already. Raises Unavailable without conmon, and as ``directly``.

    ``before`` is called when its attach socket is there and nothing was written yet. ``restarts``: it was waited for
    this, and nothing is done where somebody has ended the wait.
    """
    from cais.container.log_sink import LogSink
    from cais.runtime import conmon

    runtime = store.rooms.runtime
    with store.locked(record) as record:
        if restarts is not None:
            if record.state != "restarting" or record.restarts.stopped:
                return False
        elif store.state(record).lives:
            return False
        else:
            _stop_waiting(store, record)
        plan = Plan.from_json(record.plan)
        exits = state.exit_directory(store.rooms.directory, record.id)
        ready = None
        try:
            _clear(store, record)
            os.makedirs(exits, 0o700, exist_ok=True)
            beside = _joins_beside(plan)
            ready = prepare.prepare(store.rooms, record, plan, console_size=console_size, join=not beside)
            with LogSink(plan.log, store.log_path(record.id)) as sink:
                creating = conmon.create(
                    runtime,
                    ready.spec,
                    ready.bundle,
                    name=record.name,
                    log=sink.arguments,
                    exit_directory=exits,
                    stdin=plan.stdin,
                    # As Docker: a detached container's input waits for others, a terminal's has no end.
                    leave_stdin_open=plan.detach or plan.tty,
                    on_exit=commands.on_exit,
                    environment=commands.environment,
                    keep=ready.connection.reserved,
                )
                try:
                    if beside:
                        store.records.database.write_back_soon()  # there is time: the runtime takes longer
                        ready = prepare.join(store.rooms, record, plan, ready)
                finally:
                    answer = conmon.answer(creating)
            for line in ready.warnings:
                warn(line)
            conmon.check(answer, ready.spec, ready.bundle, runtime)
            if ready.connection.dns and (line := store.rooms.connections.await_names(record.id)):
                warn(line)
            ready.connection.close()
            if before is not None:
                before(ready.bundle)
            if plan.health is not None and plan.health.args:
                from cais.container import watch

                watch.begin(store.directory(record.id), plan.health, commands.on_check, commands.environment)
            store.records.set_started(record.id, time.time(), restarts=restarts or Restarts())
            store.rooms.volumes.let_go()
            conmon.start(runtime, ready.spec, ready.bundle)
            store.happenings.started(record, plan, attached=before is not None)
        except BaseException as error:
            if ready is not None:
                runtime.end(ready.bundle)
                prepare.undo(store.rooms, ready)
            store.end_watch(record)
            _note_failure(store, record, error)
            raise
    return True


def _joins_beside(plan: Plan) -> bool:
    """Whether a container may join the default network while the runtime makes it.

    Not where conmon has to hold its ports open, its links say variables, or the runtime needs the network itself
    (sysctls, hooks). In networks with names it joins before, so that their name server has time to come up.
    """
    networks = plan.networking.networks
    if [item.network for item in networks] != [DEFAULT] or networks[0].links:
        return False
    return plan.is_plain and not plan.sysctls and not plan.networking.wanted_ports


def finish(store: Containers, record: ContainerRecord) -> Restarts | None:
    """After the end of a container under conmon: the runtime forgets it, the record says how it ended.

    The restart that follows by its policy, for which this process waits; or None. One that was started again meanwhile
    is left alone. Raises NotFound.
    """
    from cais.container import restart, waiting

    with store.locked(record) as record:
        if record.state == "restarting":
            return None
        found = store.state(record)
        if found.status not in ("exited", "restarting"):
            return None
        policy = Plan.from_json(record.plan).restart
        restarts = restart.after(policy, record.restarts, found.exit_code, found.finished - record.started)
        if restarts is not None:
            waiting.note(store.directory(record.id), waiting.RESTART, os.getpid())
            store.records.set_restarting(record.id, found.exit_code, found.finished, restarts)
            store.happenings.died(record, found.exit_code, found.finished)
        store.end_watch(record)
        store.leave_networks(record)
        # Last: as long as the bundle is ours, nobody takes the container for one that has come to its end.
        store.rooms.runtime.delete(store.rooms.runtime.opened(record.id))
        return restarts


def _note_failure(store: Containers, record: ContainerRecord, error: BaseException) -> None:
    if isinstance(error, CaisError):
        ran = record.started > 0
        store.records.set_exited(record.id, error.exit_code, time.time(), error.message, started=ran)
    else:
        store.records.set_exited(record.id, state.UNKNOWN_EXIT_CODE, time.time())


def _stop_waiting(store: Containers, record: ContainerRecord) -> None:
    if record.state == "restarting":
        from cais.container import waiting

        waiting.end(store.directory(record.id), waiting.RESTART)


def _clear(store: Containers, record: ContainerRecord) -> None:
    """What an earlier run left behind: its exit code, and a bundle that nobody owns."""
    try:
        os.unlink(os.path.join(state.exit_directory(store.rooms.directory, record.id), record.id))
    except FileNotFoundError:
        pass
    store.leave_networks(record)
    bundle = store.rooms.runtime.opened(record.id)
    if os.path.isdir(bundle.directory):
        store.rooms.runtime.delete(bundle)
