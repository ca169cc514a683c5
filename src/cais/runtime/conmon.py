"""Detached containers: conmon holds their streams, writes their log and notes their exit code (Debian: conmon)."""

from __future__ import annotations

import fcntl
import os

from cais.errors import Failed, Unavailable, from_os_error
from cais.host.processes import wait
from cais.runtime.failures import explain
from cais.runtime.find import find_program
from cais.runtime.runner import Bundle, Runtime
from cais.spec.encoding import decode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Creating(NamedTuple):
    """A conmon that was started: the child to be waited for, and a descriptor from which its answer is read."""

    child: int
    pipe: int


_SYNC_DESCRIPTOR = 3
# GLib's own allocator sets pages aside for each size of what it is asked for: a twentieth of what an idle conmon has.
_THRIFT = {"G_SLICE": "always-malloc"}
_FIRST_KEPT = 16


def create(
    runtime: Runtime,
    spec: dict[str, Any],
    bundle: Bundle,
    *,
    name: str,
    log: Sequence[str],
    exit_directory: str,
    stdin: bool,
    leave_stdin_open: bool,
    on_exit: Sequence[str],
    environment: Mapping[str, str],
    keep: Sequence[int] = (),
) -> Creating:
    """Begins to make the container of ``bundle`` under conmon; ``answer`` and ``check`` must follow, then ``start``.

    ``leave_stdin_open``: its input does not end with that of the first who attaches. ``log`` are conmon's arguments for
    it; the exit code goes to ``exit_directory/<id>``; then the command ``on_exit`` is run with ``environment``. conmon
    keeps the descriptors ``keep`` open. Raises Unavailable without conmon.
    """
    conmon = find_program("conmon")
    if not conmon:
        raise Unavailable(
            "conmon is not installed: containers cannot run detached",
            hint="Install it (Debian: apt-get install conmon), or run in the foreground.",
            exit_code=125,
        )
    arguments = runtime.arguments(bundle)
    command = [conmon, "--api-version", "1", "-c", bundle.id, "-u", bundle.id, "-n", name]
    command += ["-r", runtime.program(bundle).path, "-b", bundle.directory]
    command += ["-p", os.path.join(bundle.directory, "pid"), "-P", os.path.join(bundle.directory, "conmon.pid")]
    command += ["--exit-dir", exit_directory, *log, "--log-level", "error"]
    command += ["--socket-dir-path", bundle.directory]
    command += [part for argument in arguments for part in ("--runtime-arg", argument)]
    if spec["process"]["terminal"]:
        command.append("-t")
    if stdin:
        command.append("-i")
    if leave_stdin_open:
        command.append("--leave-stdin-open")
    if on_exit:
        command += ["--exit-command", on_exit[0]]
        command += [part for argument in on_exit[1:] for part in ("--exit-command-arg", argument)]
    runtime.write_config(spec, bundle)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    read, write = os.pipe2(os.O_CLOEXEC)
    kept: list[int] = []
    try:
        actions: list[Any] = [(os.POSIX_SPAWN_DUP2, null, place) for place in (0, 1, 2)]
        actions.append((os.POSIX_SPAWN_DUP2, write, _SYNC_DESCRIPTOR))
        kept += [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_KEPT) for descriptor in keep]
        actions += [(os.POSIX_SPAWN_DUP2, descriptor, descriptor) for descriptor in kept]  # not closed by exec
        environment = {**environment, **_THRIFT, "_OCI_SYNCPIPE": str(_SYNC_DESCRIPTOR)}
        child = _spawn(command, environment, actions)
    except OSError as error:
        os.close(read)
        raise from_os_error(error, f"start {conmon}")
    finally:
        for descriptor in (write, null, *kept):
            os.close(descriptor)
    return Creating(child, read)


def answer(creating: Creating) -> bytes:
    """Waits until the container is made, or cannot be: what conmon says of it.

    Its attach socket is there: who connects now gets all that it will write.
    """
    with open(creating.pipe, "rb") as pipe:
        said = pipe.readline()
    wait(creating.child)
    return said


def _spawn(command: list[str], environment: Mapping[str, str], actions: list[Any]) -> int:
    """In ``/``: what lives as long as a container holds no directory of the caller's, and reads nothing there."""
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir("/")
        return os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
    finally:
        os.fchdir(here)
        os.close(here)


def start(runtime: Runtime, spec: dict[str, Any], bundle: Bundle) -> None:
    """Lets the container run that ``create`` has made; from now on it is conmon's. Raises as ``create``."""
    if not _let_go(runtime, spec, bundle):
        code = runtime.command("start", bundle.id)
        if code != 0:
            raise _failure(bundle, spec, runtime, f"starting it failed with exit code {code}")
    monitor = holder(bundle)
    if monitor:
        # Between the container's end and conmon's note of it nobody takes the code for lost.
        runtime.hand_over(bundle, monitor)


def _let_go(runtime: Runtime, spec: dict[str, Any], bundle: Bundle) -> bool:
    """What ``crun start`` does, without a process that reads the whole configuration for it: the container's first
    process waits for a byte. False where there is more to do, or nobody waits: then the runtime knows."""
    if spec.get("hooks") or runtime.program(bundle).name != "crun":
        return False
    path = runtime.start_pipe(bundle)
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.unlink(path)  # first, as crun does it: from now on it is one that was started
            os.write(pipe, b"\0")
        finally:
            os.close(pipe)
    except OSError:
        return False
    return True


def holder(bundle: Bundle) -> int:
    """conmon's pid, or 0 where it has ended."""
    try:
        with open(os.path.join(bundle.directory, "conmon.pid"), encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def check(answer: bytes, spec: dict[str, Any], bundle: Bundle, runtime: Runtime) -> None:
    """Raises Failed or NotFound, with Docker's exit codes, where the container was not made."""
    try:
        said = decode(answer)
        pid = int(said.get("pid", said.get("data", -1)))
        message = str(said.get("message", ""))
    except (ValueError, TypeError, AttributeError):
        pid, message = -1, "conmon ended without an answer"
    if pid <= 0:
        raise _failure(bundle, spec, runtime, message)


def _failure(bundle: Bundle, spec: dict[str, Any], runtime: Runtime, message: str) -> Exception:
    message = runtime.logged(bundle) or message
    if not message:
        return Failed("the container did not start", exit_code=125)
    return explain(message, spec["process"]["args"], runtime.program(bundle).name)


def exit_code(exit_directory: str, id: str) -> tuple[int, float] | None:
    """(exit code, time in seconds) that conmon noted, or None."""
    try:
        with open(os.path.join(exit_directory, id), encoding="utf-8") as file:
            return int(file.read().strip() or "255"), os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError):
        return None
