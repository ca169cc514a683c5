"""One health check: a process in the container, with an end to its time and to what is kept of its output."""

from __future__ import annotations

import os
import select
import signal
import time

from cais.container import exec as execution
from cais.container.health import NO_EXIT_CODE, OUTPUT_LIMIT_BYTES, HealthCheck, Result, output_text
from cais.container.options import ExecOptions
from cais.errors import CaisError
from cais.host.files import random_name
from cais.host.processes import children, send_signal, start_ticks
from cais.runtime import exec as processes
from cais.spec.go_duration import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cais.runtime.runner import Bundle, Runtime

_BUFFER_BYTES = 1 << 16
_DEEPEST = 64


def run(
    runtime: Runtime,
    bundle: Bundle,
    plan: Mapping[str, Any],
    check: HealthCheck,
    given: Mapping[str, Any],
    pid: int,
    stands_still: Callable[[], bool],
) -> Result | None:
    """Runs the check in the container of ``bundle``, whose first process is ``pid`` and was started as ``given``.

    As the container's user, with its environment and directory. What cannot be run is a result, too; what did not come
    to its end because the container ``stands_still`` is none.
    """
    start = time.time()
    try:
        options = ExecOptions(command=check.args)
        user = execution.look_up(plan, options, pid)
        document = execution.process(given, plan, options, (), user, runtime.host.capabilities)
        code, output, was_paused = _run(runtime, bundle, document, check.timeout_nanoseconds / 1e9, stands_still)
    except CaisError as error:
        return Result(start, time.time(), NO_EXIT_CODE, error.message)
    if was_paused:
        return None
    if code is None:
        code = NO_EXIT_CODE
        said = f"Health check exceeded timeout ({format_duration(check.timeout_nanoseconds)})"
        output = f"{said}: {output}" if output else said
    return Result(start, time.time(), code, output)


def _run(
    runtime: Runtime,
    bundle: Bundle,
    document: Mapping[str, Any],
    timeout_seconds: float,
    stands_still: Callable[[], bool],
) -> tuple[int | None, str, bool]:
    """(exit code or None where it was killed for its time, output, whether the container stood still then)."""
    id = random_name(32)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        started = processes.start(runtime, bundle, id, lambda: document, (null, write, write))
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(null)
        os.close(write)
    try:
        in_time, output = _collect(started, read, time.monotonic() + timeout_seconds)
        was_paused = not in_time and stands_still()
        if not in_time:
            _kill(started)  # one that stands still ends when it goes on
        code = processes.finish(runtime, started)
    finally:
        os.close(read)
        processes.forget(bundle, id)
    return (code if in_time else None), output, was_paused


def _collect(started: processes.Executed, read: int, deadline: float) -> tuple[bool, str]:
    """Reads to the end of the process or of its time; (whether it ended in time, the beginning of the output)."""
    kept, more = b"", False
    process = os.pidfd_open(started.pid)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(read, select.POLLIN)
    ended = closed = False
    try:
        # What it has left running may hold its output open: the end of the process is the end.
        while not ended:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            ready = [descriptor for descriptor, _ in poll.poll(min(remaining * 1000 + 1, 1 << 30))]
            ended = process in ready
            while read in ready and not closed:
                data = os.read(read, _BUFFER_BYTES)
                if not data:
                    poll.unregister(read)
                    closed = True
                more = more or len(kept) + len(data) > OUTPUT_LIMIT_BYTES
                kept = (kept + data)[:OUTPUT_LIMIT_BYTES]
                # After its end what is still in the pipe is read, and no more is waited for.
                if not ended or not select.select([read], [], [], 0)[0] or time.monotonic() > deadline:
                    break
    finally:
        os.close(process)
    return ended, output_text(kept, more=more)


def _kill(started: processes.Executed) -> None:
    """The process inside and all that it has started: one by one, as they have no group in common."""
    try:
        with open(processes.pid_file(started.bundle, started.id), encoding="utf-8") as file:
            pid = int(file.read(16))
    except (OSError, ValueError):
        pid = started.pid  # the runtime has not come so far
    _kill_tree(pid, start_ticks(pid), 0)


def _kill_tree(pid: int, started: int | None, depth: int) -> None:
    try:
        if started is None or not send_signal(pid, signal.SIGSTOP, started):
            return
        if depth < _DEEPEST:
            for child in children(pid):
                _kill_tree(child.pid, child.start_ticks, depth + 1)
        send_signal(pid, signal.SIGKILL, started)
    except PermissionError:
        pass
