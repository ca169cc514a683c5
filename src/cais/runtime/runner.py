"""Runtime: makes bundles and runs them. Implements ``ports.Runner``; usable from many threads at once."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from cais.errors import CaisError, from_os_error
from cais.host import process_files
from cais.host.files import overwrite, random_name
from cais.host.processes import ProcessName, boot_id, is_alive, kill_family, send_signal, start_ticks, wait
from cais.runtime import find
from cais.runtime.notes import Note, read_configuration, read_note
from cais.runtime.spec import Host
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import threading
    from _thread import LockType
    from collections.abc import Mapping
    from typing import Any

    from cais.runtime.guardian import Guardian
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

# A directory without an owner is younger than this while somebody makes it.
_MAKING_SECONDS = 10
# A link in a bundle that names the OCI runtime its run asked for.
_PROGRAM = "runtime"


class Bundle(NamedTuple):
    """A directory for one run. ``rootfs`` is where its root file system is mounted.

    ``state_directory``: where the runtime keeps this run's state, if not where it keeps all (``runtime.private``).
    ``program``: the OCI runtime that this run asked for, by name or path, or "".
    """

    id: str
    directory: str
    rootfs: str
    state_directory: str = ""
    program: str = ""


class Started(NamedTuple):
    """A runtime process that was started and not yet waited for."""

    bundle: Bundle
    pid: int


class Runtime:
    """``root``: the root directory; ``wanted``: a runtime by name or path, or "". Needs ``namespaces.enter`` before."""

    def __init__(self, root: str, wanted: str = "") -> None:
        self.directory = os.path.join(root, "run")
        self.state_directory = os.path.join(self.directory, ".state")
        self._wanted = wanted
        self._found: find.Found | None = None
        self._host: Host | None = None
        self._of_this_boot: bool | None = None
        self._guardian: Guardian | None = None
        self._profiles: dict[tuple[str, ...], dict[str, Any] | None] = {}
        self._lock: LockType = allocate_lock()

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
        """A new directory with an empty ``rootfs``. ``program``: as in ``Bundle``. Raises Unavailable, Denied."""
        id = id or random_name(16)
        directory = os.path.join(self.directory, id)
        try:
            os.makedirs(self.state_directory, 0o700, exist_ok=True)
            if not self.is_of_this_boot:
                from cais.runtime import boots

                boots.claim(self.directory, self.state_directory)
                self._of_this_boot = True
            os.mkdir(directory, 0o700)
            os.mkdir(os.path.join(directory, "rootfs"), 0o755)
            process_files.note(os.path.join(directory, "owner"), os.getpid())
            if program:
                os.symlink(program, os.path.join(directory, _PROGRAM))
        except OSError as error:
            raise from_os_error(error, "make a bundle")
        return Bundle(id, directory, os.path.join(directory, "rootfs"), program=program)

    @property
    def is_of_this_boot(self) -> bool:
        """Whether what is noted here may still run."""
        if self._of_this_boot is None:
            from cais.runtime import boots

            self._of_this_boot = boots.is_current(self.directory)
        return self._of_this_boot

    def remove(self, bundle: Bundle) -> None:
        """Unmounts its root file system and removes the directory."""
        from cais.runtime.guardian import remove_bundle

        remove_bundle(bundle.directory)

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
                with self._lock:
                    if self._guardian is None:
                        from cais.runtime.guardian import Guardian

                        self._guardian = Guardian(runtime.path, self.state_directory)
                    self._guardian.watch(bundle.id, directory)
            pid = spawn(self._command(bundle, console_socket), dict(enumerate(stdio)))
            overwrite(os.path.join(directory, "runtime.pid"), f"{pid} {start_ticks(pid) or 0}\n".encode())
        except OSError as error:
            raise from_os_error(error, f"start the OCI runtime {runtime.path}")
        return Started(bundle, pid)

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
        if self._guardian is not None:
            self._guardian.forget(bundle.id)
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
        if self._guardian is not None:
            self._guardian.forget(started.bundle.id)

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

    def process(self, bundle: Bundle) -> ProcessName | None:
        """The first process inside, while it lives."""
        noted = self.note(bundle)
        return noted.process if noted is not None and is_alive(noted.process) else None

    def note(self, bundle: Bundle) -> Note | None:
        """The runtime's own record of what runs, or ran, in ``bundle``; None for what ran before a reboot."""
        if not self.is_of_this_boot:
            return None
        return read_note(bundle.state_directory or self.state_directory, bundle.id)

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

    def opened(self, id: str) -> Bundle:
        """The bundle of a run that another process started."""
        directory = os.path.join(self.directory, id)
        try:
            program = os.fsdecode(os.readlink(os.path.join(directory, _PROGRAM)))
        except OSError:
            program = ""  # most have none of their own
        return Bundle(id, directory, os.path.join(directory, "rootfs"), program=program)

    def leftovers(self, keep: frozenset[str] = frozenset()) -> list[Bundle]:
        """Bundles whose owner is gone, but for those in ``keep`` (detached containers)."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        return [
            self.opened(name)
            for name in names
            if not name.startswith(".")
            and name not in keep
            and not self._is_being_made(name)
            and not self.is_owned(name)
        ]

    def _is_being_made(self, id: str) -> bool:
        """Whether a bundle has no owner yet; a killed command's never gets one."""
        directory = os.path.join(self.directory, id)
        try:
            return not os.path.exists(os.path.join(directory, "owner")) and (
                time.time() - os.stat(directory).st_mtime < _MAKING_SECONDS
            )
        except FileNotFoundError:
            return True  # it was just removed

    def waits_for_start(self, bundle: Bundle) -> bool:
        """Whether the runtime has made the container of ``bundle``, and nobody has started it."""
        return os.path.exists(os.path.join(bundle.state_directory or self.state_directory, bundle.id, "exec.fifo"))

    def hand_over(self, bundle: Bundle, pid: int) -> None:
        """The bundle's owner is another process from now on: one that will note how the container ended."""
        try:
            process_files.note(os.path.join(bundle.directory, "owner"), pid)
        except OSError as error:
            raise from_os_error(error, "note the owner of a bundle")

    def is_owned(self, id: str) -> bool:
        """Whether there is a bundle of ``id``, and the process that made it, or took it over, lives."""
        return process_files.find(os.path.join(self.directory, id, "owner")) is not None

    def owned(self) -> frozenset[str]:
        """The ids of all bundles that were owned when this looked (``is_owned``)."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return frozenset()
        boot = boot_id()
        return frozenset(
            name
            for name in names
            if not name.startswith(".")
            and process_files.find(os.path.join(self.directory, name, "owner"), boot) is not None
        )

    def close(self) -> None:
        """Lets the guardian go."""
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
