"""Another process in a container that runs, by the runtime's own ``exec``, which stays beside it.

The runtime is given what to run by a pipe, and says what went wrong in a file in memory: an environment may hold
secrets. It is started first, and comes up while that is made: it does nothing before it has it all. In the bundle lies
``exec-<id>`` with the process's number, while it runs; what is left of killed commands goes with the bundle, and counts
for nothing: a process that is not in the container's pid namespace is not listed.
"""

from __future__ import annotations

import os

from cais.errors import CaisError, Failed, from_os_error
from cais.host.files import write_all
from cais.host.processes import wait
from cais.runtime.runner import Bundle, Runtime, spawn
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

_PREFIX = "exec-"
# Where the runtime finds its two files: above the numbers that the shell and the library use.
_PROCESS_PLACE, _LOG_PLACE = 50, 51


# How often is looked whether a program runs that was left alone.
_STEP_MILLISECONDS = 2


class Executed(NamedTuple):
    """A runtime process (or the shell that waits for it) that runs ``args`` inside. ``log``: descriptor of its log."""

    id: str
    pid: int
    bundle: Bundle
    args: tuple[str, ...]
    log: int


def start(
    runtime: Runtime,
    bundle: Bundle,
    id: str,
    process: Callable[[], Mapping[str, Any]],
    stdio: tuple[int, int, int],
    *,
    console_socket: str = "",
    after: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Executed:
    """Starts what ``process`` returns (as in an OCI spec) in the container of ``bundle``; ``finish`` must follow, or
    ``leave``.

    ``process`` is called when the runtime is on its way; where it raises, nothing is started. ``after``: a command that
    is run with its exit code as a last word, in ``environment``. Raises Unavailable, and what ``process`` raises.
    """
    program = runtime.program(bundle)
    command = [program.path, "--root", bundle.state_directory or runtime.state_directory]
    command += ["--log", f"/proc/self/fd/{_LOG_PLACE}", "--log-format", "json"]
    if program.name == "crun" and not runtime.host.cgroups_writable:
        command.append("--cgroup-manager=disabled")
    command += ["exec", "--process", f"/proc/self/fd/{_PROCESS_PLACE}", "--pid-file", pid_file(bundle, id)]
    if console_socket:
        command += ["--console-socket", console_socket]
    command.append(bundle.id)
    if after:
        command = ["/bin/sh", "-c", _script(command, bundle, id), "cais-exec", *after]
    log = read = write = -1
    try:
        log = os.memfd_create("log")
        read, write = os.pipe2(os.O_CLOEXEC)
        places = {**dict(enumerate(stdio)), _PROCESS_PLACE: read, _LOG_PLACE: log}
        pid = spawn(command, places, environment)
    except OSError as error:
        for descriptor in (log, write):
            if descriptor >= 0:
                os.close(descriptor)
        raise from_os_error(error, f"start the OCI runtime {program.path}")
    finally:
        if read >= 0:
            os.close(read)
    try:
        document = process()
        try:
            write_all(write, encode(document))
        except BrokenPipeError:
            pass  # it has ended before it read that: ``finish`` says why
    except BaseException:
        os.killpg(pid, signal.SIGKILL)  # before the pipe ends: it has no whole document, and has started nothing
        os.close(write)
        wait(pid)
        os.close(log)
        raise
    os.close(write)
    return Executed(id, pid, bundle, tuple(document["args"]), log)


def _script(command: Sequence[str], bundle: Bundle, id: str) -> str:
    """For a shell whose words are the command to run after the end of ``command``, if that has begun."""
    begun = f"[ -s {_quoted(pid_file(bundle, id))} ] || [ ! -e {_quoted(bundle.directory)} ]"
    return f'cd /; {" ".join(map(_quoted, command))}; code=$?; {{ {begun}; }} || exit $code; exec "$@" $code'


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def leave(runtime: Runtime, executed: Executed) -> None:
    """Waits until the program inside runs, and leaves it alone. Raises as ``failure`` where it does not start."""
    import select

    descriptor = os.pidfd_open(executed.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not has_begun(executed):
            if poll.poll(_STEP_MILLISECONDS):
                finish(runtime, executed)
                return
        os.close(executed.log)
    finally:
        os.close(descriptor)


def has_begun(executed: Executed) -> bool:
    """Whether the program inside runs: until then what stands on stderr is the runtime's."""
    try:
        return os.stat(pid_file(executed.bundle, executed.id)).st_size > 0
    except OSError:
        return False


def finish(runtime: Runtime, executed: Executed, code: int | None = None) -> int:
    """Waits for the end (unless ``code`` is known); the exit code. Raises as ``failure`` where it never started."""
    if code is None:
        code = wait(executed.pid)
    begun = has_begun(executed)
    said = os.pread(executed.log, 1 << 16, 0) if code and not begun else b""
    os.close(executed.log)
    if code and not begun:
        from cais.runtime.failures import read_log

        message = read_log(said.decode("utf-8", "replace")) or f"it ended with {code}"
        raise failure(message, executed.args, runtime.program(executed.bundle).name)
    return code


def failure(said: str, args: tuple[str, ...], runtime: str) -> CaisError:
    """Docker's words for a process that did not start; exit code 126, or 127 where there is no such program."""
    if "chdir" in said.lower():
        path = said.partition("`")[2].partition("`")[0]
        reason = said.rpartition(": ")[2].lower()
        detail = f'chdir to cwd ("{path}") set in config.json failed: {reason}' if path else said
        code, hint = 126, ""
    else:
        from cais.runtime.failures import explain

        found = explain(said, list(args), runtime)
        code, hint = found.exit_code if found.exit_code in (126, 127) else 126, found.hint
        detail = found.message if found.exit_code in (126, 127) else said
    return Failed(
        f"OCI runtime exec failed: exec failed: unable to start container process: {detail}: unknown",
        hint=hint,
        exit_code=code,
    )


def pid_file(bundle: Bundle, id: str) -> str:
    """Where the number of the process stands."""
    return os.path.join(bundle.directory, _PREFIX + id)


def forget(bundle: Bundle, id: str) -> None:
    """It has ended."""
    try:
        os.unlink(pid_file(bundle, id))
    except FileNotFoundError:
        pass


def running(bundle: Bundle, container_pid: int) -> list[str]:
    """The ids of what was started in the container, whose first process is ``container_pid``, and still runs."""
    found = []
    try:
        names = sorted(name for name in os.listdir(bundle.directory) if name.startswith(_PREFIX))
        inside = os.readlink(f"/proc/{container_pid}/ns/pid")
    except OSError:
        return []
    for name in names:
        try:
            with open(os.path.join(bundle.directory, name), encoding="utf-8") as file:
                pid = int(file.read(16))
            if os.readlink(f"/proc/{pid}/ns/pid") == inside:
                found.append(name.removeprefix(_PREFIX))
        except (OSError, ValueError):
            continue
    return found
