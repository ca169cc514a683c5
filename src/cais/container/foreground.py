"""A container in the foreground, from its start to its end, attached to the caller's streams."""

from __future__ import annotations

import os

from cais.container.attach import Pump, Signals
from cais.container.prepare import Ready
from cais.errors import Failed
from cais.host.processes import wait
from cais.runtime.runner import Runtime, Started, Streams, on_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.container.terminal import ConsoleSocket


def run(
    runtime: Runtime,
    ready: Ready,
    streams: Streams,
    signals: Signals,
    *,
    sig_proxy: bool = True,
    on_begun: Callable[[], None] | None = None,
) -> int:
    """Starts and waits; the exit code. There is no log, nor a terminal: containers with these run under conmon.

    ``on_begun`` is called when the program inside runs, once.
    Raises with exit code 125, 126 or 127 where it did not start. Interrupted, it kills what runs.
    """
    started, outputs, target = on_pipes(streams, lambda stdio: runtime.start(ready.spec, ready.bundle, stdio))
    pump = Pump(
        started.pid,
        outputs,
        stdin=streams.stdin,
        target=target,
        signals=signals,
        pass_signal=(lambda number: runtime.kill(started, number)) if sig_proxy else None,
        held=lambda: not runtime.has_begun(ready.bundle),
        on_begun=on_begun,
    )
    return _finish(runtime, started, pump)


def run_on_terminal(runtime: Runtime, ready: Ready, streams: Streams, signals: Signals) -> int:
    """As ``run``, with a terminal of its own: the shell of a build that failed, which ends with this process."""
    from cais.container import terminal

    console = terminal.ConsoleSocket(ready.bundle.directory)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            started = runtime.start(ready.spec, ready.bundle, (null, null, err_write), console_socket=console.path)
        finally:
            os.close(err_write)
            os.close(null)
        master = _receive(runtime, started, console)
    except BaseException:
        os.close(err_read)
        raise
    finally:
        console.close()

    def resize() -> None:
        size = terminal.size(streams.stdin if streams.stdin >= 0 else streams.stdout)
        if size is not None:
            terminal.set_size(master, size)

    resize()
    with terminal.Raw(streams.stdin if streams.stdin >= 0 else -1):
        pump = Pump(
            started.pid,
            {master: (streams.stdout, b"stdout"), err_read: (streams.stderr, b"stderr")},
            stdin=streams.stdin,
            target=master,
            signals=signals,
            pass_signal=lambda number: runtime.kill(started, number),
            on_resize=resize,
            held=lambda: not runtime.has_begun(ready.bundle),
            terminal=True,
        )
        return _finish(runtime, started, pump)


def _receive(runtime: Runtime, started: Started, console: ConsoleSocket) -> int:
    """The terminal, or the error of a runtime that ended without sending it."""
    from cais.container.terminal import await_console

    try:
        master = await_console(started.pid, console)
    except BaseException:
        runtime.kill(started)
        runtime.abandon(started, wait(started.pid))
        raise
    if master is not None:
        return master
    code = runtime.finish(started)
    raise Failed(f"the OCI runtime ended with {code} and sent no terminal", exit_code=125)


def _finish(runtime: Runtime, started: Started, pump: Pump) -> int:
    try:
        code = pump.run()
    except BaseException:
        runtime.kill(started)
        runtime.abandon(started)
        raise
    code = runtime.finish(started, code)
    pump.kept()
    return code
