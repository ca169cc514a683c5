"""``exec``: another process in a container that runs, attached to the caller's streams or left alone."""

from __future__ import annotations

import os
import posixpath

from cais.errors import CaisError, Failed
from cais.host.processes import leave_to_cat
from cais.runtime import exec as processes
from cais.runtime import spec
from cais.runtime.runner import Bundle, Runtime, Streams, on_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from cais.container.detach_keys import DetachKeys
    from cais.container.options import ExecOptions
    from cais.container.terminal import ConsoleSocket
    from cais.runtime import users


def process(
    given: Mapping[str, Any],
    plan: Mapping[str, Any],
    options: ExecOptions,
    environment: Sequence[str],
    user: users.User,
    capabilities: frozenset[str],
) -> dict[str, Any]:
    """The OCI process: ``given`` is the container's own, whose limits and labels hold for it, too. Pure.

    ``plan`` is the container's, as its record keeps it: what is not in it is the default, and a command this short does
    without the rest. ``environment`` is what the options add, ``capabilities`` what this host can give. Raises Failed
    (the directory).
    """
    cwd = options.workdir or plan.get("cwd", "/")
    if not cwd.startswith("/"):
        raise Failed("OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown", exit_code=126)
    own = plan.get("env", ())
    if any(item.get("links") for item in plan.get("networking", {}).get("networks", ())):
        from cais.container.link_variables import kept

        own = spec.merge_environment(kept(given["env"], plan), own)
    merged = spec.merge_environment(own, environment)
    made = {key: value for key, value in given.items() if key != "consoleSize"}
    made["terminal"] = options.tty
    made["args"] = list(options.command)
    made["cwd"] = "/" + posixpath.normpath(cwd).lstrip("/")
    hostname = plan.get("hostname", "")
    made["env"] = list(spec.environment(merged, hostname=hostname, home=user.home, terminal=options.tty))
    made["user"] = {"uid": user.user_id, "gid": user.group_id, "additionalGids": list(user.groups)}
    bounding = list(given.get("capabilities", {}).get("bounding", ()))
    if options.privileged:
        bounding = [name for name in spec.ALL_CAPABILITIES if name in capabilities]
        made.pop("apparmorProfile", None)
    # As with the container's own process: a user other than root starts with an empty set.
    active = bounding if user.user_id == 0 else []
    made["capabilities"] = {"bounding": bounding, "effective": active, "permitted": active, "inheritable": []}
    return made


def look_up(plan: Mapping[str, Any], options: ExecOptions, pid: int) -> users.User:
    """The user in the container whose first process is ``pid``, by its own /etc/passwd. Raises Failed, Invalid."""
    from cais.runtime import users

    try:
        return users.look_up(
            options.user or plan.get("user", ""), f"/proc/{pid}/root", tuple(plan.get("group_add", ()))
        )
    except CaisError as error:
        raise Failed(error.message, exit_code=126)
    except OSError:
        raise Failed("the container has ended", exit_code=126)


def run(
    runtime: Runtime,
    bundle: Bundle,
    id: str,
    made: Callable[[], Mapping[str, Any]],
    tell: Callable[[], None],
    streams: Streams,
    *,
    terminal: bool = False,
    keys: DetachKeys | None = None,
) -> int | None:
    """To its end; the exit code, or None where the detach ``keys`` were pressed. Interrupted, the process goes on.

    ``made`` returns the ``process``; it is called when the runtime is on its way. ``tell`` is called when the runtime
    has it: so both take no time of their own. Raises with exit code 126 or 127 where it did not start, and what
    ``made`` raises.
    """
    try:
        if terminal:
            code = _on_terminal(runtime, bundle, id, made, tell, streams, keys)
        else:
            code = _on_pipes(runtime, bundle, id, made, tell, streams)
    except CaisError:
        processes.forget(bundle, id)
        raise
    if code is not None:
        processes.forget(bundle, id)
    return code


def run_detached(
    runtime: Runtime,
    bundle: Bundle,
    id: str,
    made: Callable[[], Mapping[str, Any]],
    tell: Callable[[], None],
    after: Sequence[str],
    environment: Mapping[str, str],
    *,
    terminal: bool = False,
) -> None:
    """Starts it and leaves it alone; ``after`` is run in ``environment`` after its end, with its exit code.

    Raises as ``run``.
    """
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    console = None
    try:
        if terminal:
            from cais.container.terminal import ConsoleSocket

            console = ConsoleSocket(bundle.directory, _console(id))
        started = processes.start(
            runtime, bundle, id, made, (null, null, null), after=after, environment=environment,
            console_socket=console.path if console is not None else "",
        )  # fmt: skip
        tell()
        if console is not None:
            master = _receive(runtime, started, console)
            leave_to_cat((master,))
            os.close(master)
        processes.leave(runtime, started)
    except CaisError:
        processes.forget(bundle, id)
        raise
    finally:
        os.close(null)
        if console is not None:
            console.close()


def _on_pipes(
    runtime: Runtime,
    bundle: Bundle,
    id: str,
    made: Callable[[], Mapping[str, Any]],
    tell: Callable[[], None],
    streams: Streams,
) -> int:
    started, outputs, target = on_pipes(streams, lambda stdio: processes.start(runtime, bundle, id, made, stdio))
    try:
        tell()
        from cais.container.attach import Pump
    except BaseException:
        leave_to_cat(tuple(outputs))  # as where the pump is interrupted: it has begun
        raise
    pump = Pump(
        started.pid,
        outputs,
        stdin=streams.stdin,
        target=target,
        held=lambda: not processes.has_begun(started),
        on_leave=leave_to_cat,
    )
    code = processes.finish(runtime, started, pump.run())
    pump.kept()
    return code


def _on_terminal(
    runtime: Runtime,
    bundle: Bundle,
    id: str,
    made: Callable[[], Mapping[str, Any]],
    tell: Callable[[], None],
    streams: Streams,
    keys: DetachKeys | None,
) -> int | None:
    from cais.container import terminal
    from cais.container.attach import Pump, Signals

    console = terminal.ConsoleSocket(bundle.directory, _console(id))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        started = processes.start(runtime, bundle, id, made, (null, null, null), console_socket=console.path)
        tell()
        master = _receive(runtime, started, console)
    finally:
        os.close(null)
        console.close()

    def resize() -> None:
        size = terminal.size(streams.stdin if streams.stdin >= 0 else streams.stdout)
        if size is not None:
            terminal.set_size(master, size)

    resize()
    with Signals(resizes_only=True) as signals, terminal.Raw(streams.stdin):
        pump = Pump(
            started.pid,
            {master: (streams.stdout, b"stdout")},
            stdin=streams.stdin,
            target=master,
            signals=signals,
            on_resize=resize,
            terminal=True,
            keys=keys,
            on_leave=leave_to_cat,
        )
        code = pump.run()
    if pump.detached:
        os.close(started.log)
        return None
    return processes.finish(runtime, started, code)


def _console(id: str) -> str:
    return f"console-{id}"


def _receive(runtime: Runtime, started: processes.Executed, console: ConsoleSocket) -> int:
    from cais.container.terminal import await_console

    master = await_console(started.pid, console)
    if master is None:
        processes.finish(runtime, started)
        raise Failed("the OCI runtime sent no terminal", exit_code=126)
    return master
