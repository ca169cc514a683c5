"""How a container is ended, paused and waited for.

A signal goes to the one process that was found, by its name (pid and start): no lock is held while a container takes
its time to end, and one that was started again meanwhile is another run, which nobody here ends.
"""

from __future__ import annotations

import os
import time

from cais.container.options import parse_signal
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.container.restart import BY_HAND
from cais.container.state import State, exit_directory
from cais.errors import CaisError, Conflict, Failed, Invalid, Unavailable, Unsupported
from cais.host.processes import send_signal, wait_gone
from cais.runtime import cgroup_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from cais.container.store import Containers
    from cais.host.processes import ProcessName
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

_KILLED_SECONDS = 10
_STEP_SECONDS = 0.005
CONDITIONS = ("not-running", "next-exit", "removed")


def signal_number(text: str, doing: str) -> int:
    """Raises Invalid with Docker's words."""
    try:
        return parse_signal(text)
    except Invalid as error:
        if text.isdigit() and int(text):
            raise Invalid(f"{doing}: the linux daemon does not support signal {text}")
        raise Invalid(f"{doing}: {error.message}")


def kill(store: Containers, record: ContainerRecord, number: int) -> None:
    """Sends a signal; after SIGKILL it has ended. What ends a container resumes one that is paused, too.

    Raises Conflict where it does not run; Failed where the kernel does not end it.
    """
    found = _settled(store, record)
    if not found.is_up:
        raise Conflict(f"cannot kill container: {record.name}: container {record.id} is not running")
    ends = number in (signal.SIGKILL, signal.SIGTERM, _stop_signal(record))
    if ends:
        _note_stopped(store, record)
        if found.status == "restarting":
            record, found = _not_restarted(store, record)
    _send(store, record, found, number)
    if ends and found.status == "paused":
        _thaw(store, record)
    if number == signal.SIGKILL and found.process is not None:
        _await_end(record, found.process)
        _noted(store, record)


def stop(
    store: Containers,
    record: ContainerRecord,
    timeout_seconds: int | None = None,
    number: int | None = None,
    how: int = BY_HAND,
) -> bool:
    """Asks it to end by ``number``, or its own signal, and kills it after ``timeout_seconds`` (negative: never).

    ``how`` is kept for the next boot (``restart.at_boot``). False where it did not run. Raises Failed where it
    cannot be killed.
    """
    _note_stopped(store, record, how)
    found = _settled(store, record)
    if found.status == "restarting":
        record, found = _not_restarted(store, record)
    if found.process is None:
        return False
    plan = Plan.from_json(record.plan)
    patience = plan.stop_timeout_seconds if timeout_seconds is None else timeout_seconds
    _send(store, record, found, _stop_signal(record) if number is None else number)
    if found.status == "paused":
        _thaw(store, record)
    if not wait_gone(found.process.pid, found.process.start_ticks, patience):
        end_now(store, record, found, how)
    _noted(store, record)
    store.happenings.container("stop", record)
    return True


def end_now(store: Containers, record: ContainerRecord, found: State, how: int = BY_HAND) -> None:
    """Kills what was found to run, and what waits to start it again. Raises Failed where the kernel does not end it."""
    _note_stopped(store, record, how)
    if found.status == "restarting":
        from cais.container import waiting

        waiting.end(store.directory(record.id), waiting.RESTART)
    if found.process is None:
        return
    _send(store, record, found, signal.SIGKILL)
    if cgroup_files.is_frozen(_group(store, record)):
        _thaw(store, record)
    _await_end(record, found.process)
    _await_note(store, record)


def _await_end(record: ContainerRecord, process: ProcessName) -> None:
    """Of what was killed. Raises Failed where the kernel does not end it."""
    if not wait_gone(process.pid, process.start_ticks, _KILLED_SECONDS):
        raise Failed(
            f"cannot stop container: {record.name}: tried to kill container, but its process {process.pid} does not "
            "end",
            hint="The kernel holds it, in most cases in a file system that does not answer.",
        )


def _await_note(store: Containers, record: ContainerRecord) -> None:
    """Until conmon has written how the container ended: its directory is not to be removed at the same time.

    On a full disk it writes nothing.
    """
    from cais.runtime import conmon

    runtime = store.rooms.runtime
    exits = exit_directory(store.rooms.directory, record.id)
    end = time.monotonic() + _KILLED_SECONDS
    while (
        conmon.holder(runtime.opened(record.id))
        and runtime.is_owned(record.id)
        and conmon.exit_code(exits, record.id) is None
        and os.statvfs(store.rooms.directory).f_bfree
        and time.monotonic() < end
    ):
        time.sleep(_STEP_SECONDS)


def _not_restarted(store: Containers, record: ContainerRecord) -> tuple[ContainerRecord, State]:
    """A container that was about to be started again: its record, and what it does; it may just have been started."""
    stop_waiting(store, record)
    record = store.records.get(record.id)
    return record, store.state(record)


def stop_waiting(store: Containers, record: ContainerRecord) -> None:
    """Whoever waits to start it again does not do it any more."""
    from cais.container import waiting

    with store.locked(record) as record:
        if record.state == "restarting":
            store.records.set_exited(record.id, record.exit_code, record.finished)
            waiting.end(store.directory(record.id), waiting.RESTART)


def pause(store: Containers, record: ContainerRecord) -> None:
    """Its processes stand still. Raises Conflict where it does not run; Unsupported without control groups."""
    with store.locked(record) as record:
        found = store.state(record)
        if found.process is None:
            if found.status == "restarting":
                raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
            raise Conflict(f"container {record.id} is not running")
        if found.status == "paused":
            raise Conflict(f"Container {record.id} is already paused")
        if not cgroup_files.freeze(_group(store, record), True):
            raise Unsupported(
                f"cannot pause container {record.name}: this user may not write control groups, or the host has no "
                "freezer"
            )
        store.happenings.container("pause", record)


def unpause(store: Containers, record: ContainerRecord) -> None:
    """They go on. Raises Conflict where they do not stand still."""
    with store.locked(record) as record:
        if store.state(record).status != "paused":
            raise Conflict(f"Container {record.id} is not paused")
        _thaw(store, record)
        store.happenings.container("unpause", record)


def wait(store: Containers, record: ContainerRecord, condition: str = CONDITIONS[0]) -> int:
    """Waits; the exit code. ``not-running``: one that never ran gives 0, as in Docker; ``next-exit``: the end of the
    run that is, or comes; ``removed``: its last one."""
    began = time.time()
    code = record.exit_code
    while True:
        found = store.state(record)
        code = found.exit_code
        ended = not found.is_up or (found.status == "restarting" and found.finished >= began)
        if ended and (condition == "not-running" or (condition == "next-exit" and found.finished >= began)):
            return code
        # Its end is being noted by whoever started it; or there is nothing yet whose end could be waited for.
        if found.process is None or wait_gone(found.process.pid, found.process.start_ticks, 1):
            time.sleep(_STEP_SECONDS)
        try:
            record = store.records.get(record.id)
        except CaisError:
            return code  # removed, and with it what was noted of its end


def wait_for_run(store: Containers, record: ContainerRecord) -> int:
    """Waits for the end of the run that ``record`` tells of, and of no other that its policy begins; the exit code."""
    run = record.started
    while True:
        found = store.state(record)
        if not found.lives:
            return found.exit_code
        if found.process is None or wait_gone(found.process.pid, found.process.start_ticks, 1):
            time.sleep(_STEP_SECONDS)
        try:
            record = store.records.get(record.id)
        except CaisError:
            return found.exit_code  # removed, and with it what was noted of its end
        if record.started != run:
            return record.exit_code  # started again meanwhile: how it ended is still known


def _note_stopped(store: Containers, record: ContainerRecord, how: int = BY_HAND) -> None:
    """A full disk keeps nobody from ending a container: what fills the disk may be just that one."""
    try:
        store.records.set_stopped(record.id, how)
    except Unavailable:
        pass


def _noted(store: Containers, record: ContainerRecord) -> None:
    """Until the end of this very run stands in the record; not for ever, as who is to note it may stand still."""
    until = time.monotonic() + _KILLED_SECONDS
    while time.monotonic() < until:
        try:
            now = store.records.get(record.id)
        except CaisError:
            return
        if now.started != record.started or not store.state(now).lives:
            return
        time.sleep(_STEP_SECONDS)


def _settled(store: Containers, record: ContainerRecord) -> State:
    """Its state, after the start that another command may be at."""
    found = store.state(record)
    if found.status == "running" and found.process is None:
        with store.locked(record) as record:
            found = store.state(record)
    return found


def _send(store: Containers, record: ContainerRecord, found: State, number: int) -> None:
    if found.process is not None:
        send_signal(found.process.pid, number, found.process.start_ticks)
        store.happenings.container("kill", record, signal=str(int(number)))


def _stop_signal(record: ContainerRecord) -> int:
    return parse_signal(Plan.from_json(record.plan).stop_signal)


def _group(store: Containers, record: ContainerRecord) -> str:
    note = store.rooms.runtime.note(store.rooms.runtime.opened(record.id))
    return note.group if note is not None else ""


def _thaw(store: Containers, record: ContainerRecord) -> None:
    cgroup_files.freeze(_group(store, record), False)
