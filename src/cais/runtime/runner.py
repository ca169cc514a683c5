"""Runtime: makes bundles and runs them. Implements ``ports.Runner``; usable from many threads at once."""

from __future__ import annotations

import os
from _thread import allocate_lock

from cais.errors import CaisError, from_os_error
from cais.host.files import overwrite
from cais.host.processes import kill_family, send_signal, start_ticks, wait
from cais.runtime import find
from cais.runtime.bundles import Bundle as Bundle
from cais.runtime.bundles import Bundles, read_configuration
from cais.runtime.cgroup_moves import Foresight
from cais.runtime.spec import Host
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import threading
    from _thread import LockType
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from cais.runtime.guardian import Guardian

    S = TypeVar("S")
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start


class Started(NamedTuple):
    """A runtime process that was started and not yet waited for."""

    bundle: Bundle
    pid: int


class Streams(NamedTuple):
    """The caller's descriptors; ``stdin`` -1 where nothing is handed in."""

    stdin: int = -1
    stdout: int = 1
    stderr: int = 2


class Runtime(Bundles):
    """``root``: the root directory; ``wanted``: a runtime by name or path, or "". Needs ``namespaces.enter`` before."""

    def __init__(self, root: str, wanted: str = "", moves: Foresight | None = None) -> None:
        super().__init__(root)
        self._wanted = wanted
        self._found: find.Found | None = None
        self._host: Host | None = None
        self._guardian: Guardian | None = None
        self._profiles: dict[tuple[str, ...], dict[str, Any] | None] = {}
        self._lock: LockType = allocate_lock()
        self._moves = moves or Foresight()

    def foresee(self) -> None:
        """Something is about to be started: what can be waited for now, is. ``bundle`` does it, too."""
        self._moves.ask()

    @property
    def found(self) -> find.Found:
        """Raises Unavailable."""
        if self._found is None:
            self._found = find.find_runtime(self._wanted)
        return self._found

    def program(self, bundle: Bundle) -> find.Found:
        """The OCI runtime of a run: its own, or that of all. Raises Unavailable, Invalid."""
        if not bundle.program:
            return self.found
        found = find.find_runtime(bundle.program)
        if found.name == "crun" and self.found.name != "crun" and self.host.cgroup_mode == "hybrid":
            find.hide_unified()
        return found

    @property
    def host(self) -> Host:
        """The facts that a spec needs, without a seccomp profile; a hybrid host's v2 part is hidden on the way."""
        with self._lock:
            if self._host is None:
                self._host = find.facts(self.found)
            return self._host

    def seccomp(self, capabilities: tuple[str, ...]) -> dict[str, Any] | None:
        """The installed profile for a process with these capabilities, or None where none is installed."""
        from cais.runtime import seccomp

        with self._lock:
            if capabilities not in self._profiles:
                path = seccomp.installed_profile()
                self._profiles[capabilities] = seccomp.load(path, capabilities) if path else None
            return self._profiles[capabilities]

    def bundle(self, id: str = "", program: str = "") -> Bundle:
        """As ``Bundles.bundle``: something is about to be started."""
        self.foresee()
        return super().bundle(id, program)

    def start(
        self,
        spec: dict[str, Any],
        bundle: Bundle,
        stdio: tuple[int, int, int],
        *,
        console_socket: str = "",
        guarded: bool = True,
    ) -> Started:
        """Starts the runtime, in a session of its own; ``finish`` must follow. Raises Unavailable."""
        runtime = self.program(bundle)
        directory = bundle.directory
        self.write_config(spec, bundle)
        try:
            if guarded:
                self.guard(bundle)
            pid = spawn(self._command(bundle, console_socket), dict(enumerate(stdio)))
            overwrite(os.path.join(directory, "runtime.pid"), f"{pid} {start_ticks(pid) or 0}\n".encode())
        except OSError as error:
            raise from_os_error(error, f"start the OCI runtime {runtime.path}")
        return Started(bundle, pid)

    def guard(self, bundle: Bundle) -> None:
        """From now on ``bundle`` ends with this process, until ``forget``. Raises OSError."""
        path = self.program(bundle).path
        with self._lock:
            if self._guardian is None:
                from cais.runtime.guardian import Guardian

                self._guardian = Guardian(path, self.state_directory)
            self._guardian.watch(bundle.id, bundle.directory)

    def forget(self, bundle: Bundle) -> None:
        """The guardian has nothing more to do with ``bundle``."""
        if self._guardian is not None:
            self._guardian.forget(bundle.id)

    def write_config(self, spec: dict[str, Any], bundle: Bundle) -> None:
        """config.json, with the compiled seccomp filter for a runtime that takes one."""
        profile = spec["linux"].get("seccomp")
        if profile is not None and self.program(bundle).name == "crun":
            from cais.runtime.seccomp_filter import annotation

            filters = annotation(profile, os.path.join(self.directory, ".seccomp"))
            spec = {**spec, "annotations": {**spec.get("annotations", {}), **filters}}
        try:
            overwrite(os.path.join(bundle.directory, "config.json"), encode(spec))
        except OSError as error:
            raise from_os_error(error, "write a container's configuration")

    def arguments(self, bundle: Bundle) -> list[str]:
        """The runtime's global arguments."""
        arguments = ["--root", bundle.state_directory or self.state_directory]
        arguments += ["--log", os.path.join(bundle.directory, "log"), "--log-format", "json"]
        if self.program(bundle).name == "crun" and not self.host.cgroups_writable:
            arguments.append("--cgroup-manager=disabled")
        return arguments

    def _command(self, bundle: Bundle, console_socket: str) -> list[str]:
        command = [self.program(bundle).path, *self.arguments(bundle)]
        command += ["run", "--bundle", bundle.directory, "--pid-file", os.path.join(bundle.directory, "pid")]
        if console_socket:
            command += ["--console-socket", console_socket]
        return [*command, bundle.id]

    def finish(self, started: Started, code: int | None = None) -> int:
        """Waits for the end (unless ``code`` is known) and returns the process's exit code.

        Raises with exit code 125, 126 or 127 when the process never started.
        """
        bundle = started.bundle
        if code is None:
            code = wait(started.pid)
        self.forget(bundle)
        if code != 0:
            error = self._failure(bundle)
            if error is not None:
                from cais.runtime.guardian import remove_cgroups

                # A runtime that could not start the process leaves the groups that it had made for it.
                remove_cgroups(bundle.directory)
                raise error
        return code

    def _failure(self, bundle: Bundle) -> CaisError | None:
        if not (message := self.logged(bundle)):
            return None
        from cais.runtime.failures import explain

        given = read_configuration(bundle.directory)
        return explain(message, given["process"]["args"] if given else [], self.program(bundle).name)

    def run(
        self,
        spec: dict[str, Any],
        bundle: Bundle,
        *,
        stdio: tuple[int, int, int],
        cancelled: threading.Event | None = None,
    ) -> int:
        """Runs to the end in the foreground; what interrupts this call kills what runs. ``cancelled`` does, too.

        Raises Unavailable without a runtime; Failed or NotFound, with Docker's exit code, where it never started.
        """
        started = self.start(spec, bundle, stdio)
        try:
            code = wait(started.pid) if cancelled is None else self._wait_or_kill(started, cancelled)
        except BaseException:
            self.kill(started)
            self.abandon(started)
            raise
        return self.finish(started, code)

    def _wait_or_kill(self, started: Started, cancelled: threading.Event) -> int:
        import select

        descriptor = os.pidfd_open(started.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(100):
                if cancelled.is_set():
                    self.kill(started)
                    poll.poll()
                    break
        finally:
            os.close(descriptor)
        return wait(started.pid)

    def abandon(self, started: Started, code: int | None = None) -> None:
        """Waits for what was killed; nobody asks how it ended."""
        if code is None:
            try:
                wait(started.pid)
            except ChildProcessError:
                pass  # waited for already
        self.forget(started.bundle)

    def has_begun(self, bundle: Bundle) -> bool:
        """Whether the program inside runs: what it replaced, the runtime's own, writes errors to the same streams."""
        process = self.process(bundle)
        link = f"/proc/{process.pid}/exe" if process is not None else ""
        try:
            if os.readlink(link).startswith("/memfd:"):
                return False  # runc and crun run from a copy of themselves
            inside, outside = os.stat(link), os.stat(self.program(bundle).path)
        except OSError:
            return False
        return (inside.st_dev, inside.st_ino) != (outside.st_dev, outside.st_ino)

    def logged(self, bundle: Bundle) -> str:
        """The errors that the runtime has logged so far, or ""."""
        from cais.runtime.failures import logged

        return logged(os.path.join(bundle.directory, "log"))

    def kill(self, started: Started, number: int = signal.SIGKILL) -> bool:
        """Sends a signal to the process inside; False when there is none yet, or none any more.

        SIGKILL always arrives: a runtime that has not come so far is killed itself, with all that it has made.
        """
        process = self.process(started.bundle)
        if process is not None:
            return send_signal(process.pid, number, process.start_ticks)
        if number == signal.SIGKILL and kill_family(started.pid):
            self.end(started.bundle)
            return True
        return False

    def command(self, *arguments: str, state_directory: str = "") -> int:
        """Runs the runtime of a run silently (``start <id>``, ``pause <id>``: the id comes last); its exit code."""
        program = self.program(self.opened(arguments[-1])).path
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            child = os.posix_spawn(
                program,
                [program, "--root", state_directory or self.state_directory, *arguments],
                {},
                file_actions=[(os.POSIX_SPAWN_DUP2, null, place) for place in (0, 1, 2)],
            )
        finally:
            os.close(null)
        return wait(child)

    def end(self, bundle: Bundle) -> None:
        """Kills what still runs in ``bundle``, and has the runtime forget it."""
        from cais.runtime.guardian import remove_cgroups

        if self.note(bundle) is None:
            from cais.host.processes import kill_all_given

            kill_all_given(bundle.directory)  # a runtime that has lost its conmon goes on, and would start something
        self.command("delete", "--force", bundle.id, state_directory=bundle.state_directory)
        remove_cgroups(bundle.directory)

    def delete(self, bundle: Bundle) -> None:
        """As ``end``, and removes it."""
        self.end(bundle)
        self.remove(bundle)

    def let_guardian_go(self) -> None:
        """It takes a millisecond to end: beside what else is to be done before ``close``."""
        if self._guardian is not None:
            self._guardian.let_go()

    def close(self) -> None:
        """Lets the guardian go, and waits for it."""
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None


def spawn(command: list[str], descriptors: Mapping[int, int], environment: Mapping[str, str] | None = None) -> int:
    """Starts a runtime with ``descriptors`` by their places in it, in a session of its own: a terminal's Ctrl-C reaches
    the container once, through us. Raises OSError."""
    return os.posix_spawn(
        command[0],
        command,
        environment or {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, place) for place, descriptor in descriptors.items()],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ),
    )


def on_pipes(
    streams: Streams, start: Callable[[tuple[int, int, int]], S]
) -> tuple[S, dict[int, tuple[int, bytes]], int]:
    """What ``start`` returns, given a process's three streams; and a Pump's ``outputs`` and ``target`` for them.

    Never the caller's own descriptors: through /proc/self/fd a container could open the files behind them anew.
    """
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    target = -1
    if streams.stdin >= 0:
        source, target = os.pipe2(os.O_CLOEXEC)
    else:
        source = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        started = start((source, out_write, err_write))
    except BaseException:
        for descriptor in (out_read, err_read, target):
            if descriptor >= 0:
                os.close(descriptor)
        raise
    finally:
        for descriptor in (source, out_write, err_write):
            os.close(descriptor)
    return started, {out_read: (streams.stdout, b"stdout"), err_read: (streams.stderr, b"stderr")}, target
