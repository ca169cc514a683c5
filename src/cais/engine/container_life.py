"""What containers do: run, start, stop, pause, be attached to, have other commands run in them."""

from __future__ import annotations

from cais.container.options import AttachOptions, ExecOptions, RunOptions
from cais.container.records import ContainerRecords
from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.errors import Conflict, NotFound
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cais.ports import Progress
    from cais.runtime.runner import Streams

_ATTACHED = AttachOptions()
SIGKILL = 9


class RunResult(NamedTuple):
    """``exit_code`` is 0 for one that was detached."""

    id: str
    exit_code: int


class Output(NamedTuple):
    """What a command in a container wrote, and how it ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class ContainerLife:
    """The part of ``Containers`` that starts and ends processes."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._runs = ContainerRuns(stores)

    def run(
        self,
        options: RunOptions,
        streams: Streams | None = None,
        warn: Callable[[str], None] = print,
        created: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> RunResult:
        """Creates and starts; in the foreground to the end. ``warn`` is given lines for the user.

        ``created`` is given the id before it starts, ``progress`` is of pulling the image. Raises as ``create``; with
        exit code 125, 126 or 127 where it did not start.
        """
        if options.detach_keys:
            from cais.container import detach_keys

            detach_keys.parse(options.detach_keys)  # also where nobody can type them
        self._runs.runtime.foresee()
        self._runs.enter()
        record = self._runs.create(options, progress)
        if created is not None:
            created(record.id)
        if options.detach:
            self._runs.detached(record, warn)
            return RunResult(record.id, 0)
        given = _streams(True, streams)
        # Nobody can tell it from one that conmon holds.
        if options.remove and not options.tty and not options.attach and "health" not in record.plan:
            given = given if options.interactive else given._replace(stdin=-1)
            return RunResult(record.id, self._runs.directly(record, given, warn))
        from cais.engine import container_attach

        wanted = container_attach.run_streams(options, given)
        how = AttachOptions(options.sig_proxy, options.detach_keys)
        return RunResult(record.id, container_attach.start_attached(self._runs, record, wanted, how, warn))

    def start(
        self,
        id: str,
        attach: bool = False,
        interactive: bool = False,
        streams: Streams | None = None,
        warn: Callable[[str], None] = print,
        options: AttachOptions = _ATTACHED,
    ) -> int:
        """Starts a container: detached, or with ``attach`` to its end; then the exit code. Running already is no error.

        Raises NotFound; Conflict where it stands still; as ``run`` where it does not start.
        """
        self._runs.runtime.foresee()
        self._runs.enter()
        record = self._records.get(id)
        if self._runs.store.state(record).status == "paused":
            raise Conflict("cannot start a paused container, try unpause instead")
        if not attach:
            self._runs.detached(record, warn)
            return 0
        from cais.engine import container_attach

        wanted = _streams(interactive, streams)
        return container_attach.start_attached(self._runs, record, wanted, options, warn)

    def attach(
        self, id: str, options: AttachOptions = _ATTACHED, stdin: bool = True, streams: Streams | None = None
    ) -> int | None:
        """The caller's streams on a container that runs, to its end: its exit code.

        None where the user pressed the detach keys. Raises NotFound, Conflict, Unsupported, Unavailable.
        """
        from cais.engine import container_attach

        self._runs.reach_processes(self._records.get(id))
        return container_attach.attach(self._runs, id, _streams(stdin, streams), options)

    def exec(self, id: str, options: ExecOptions, streams: Streams | None = None) -> int | None:
        """Runs another command in a container that runs: its exit code, 0 for a detached one.

        None where the user pressed the detach keys. Raises NotFound, Invalid, Conflict (it does not run, or is
        paused); with exit code 126 or 127 where the command did not start.
        """
        from cais.engine.container_exec import execute

        return execute(self._runs, id, options, _streams(True, streams))

    def output(self, id: str, command: Sequence[str], *, user: str = "", workdir: str = "") -> Output:
        """``exec`` whose output is kept in memory instead of written. Raises as ``exec``."""
        import os

        from cais.runtime.runner import Streams

        # Not pipes: somebody would have to read them meanwhile.
        with open(os.memfd_create("stdout"), "w+b") as stdout, open(os.memfd_create("stderr"), "w+b") as stderr:
            options = ExecOptions(command, user=user, workdir=workdir)
            code = self.exec(id, options, Streams(-1, stdout.fileno(), stderr.fileno()))
            stdout.seek(0)
            stderr.seek(0)
            return Output(code or 0, stdout.read(), stderr.read())

    def stop(self, id: str, timeout_seconds: int | None = None, signal: str = "") -> None:
        """Asks it to end, and kills it after its own or the given time. Raises NotFound, Invalid (signal)."""
        from cais.container import ending

        record = self._records.get(id)
        number = ending.signal_number(signal, f"cannot stop container: {id}") if signal else None
        self._runs.reach_processes(record)
        ending.stop(self._runs.store, record, timeout_seconds, number)
        self._runs.see_removed(record)

    def restart(
        self,
        id: str,
        timeout_seconds: int | None = None,
        signal: str = "",
        warn: Callable[[str], None] = print,
    ) -> None:
        """Stops it where it runs, and starts it. Raises as both."""
        from cais.container import ending

        self._runs.enter()
        record = self._records.get(id)
        number = ending.signal_number(signal, f"Cannot restart container {id}") if signal else None
        with self._runs.store.witness(record):  # it is not removed with this end
            ending.stop(self._runs.store, record, timeout_seconds, number)
            self._runs.detached(self._records.get(record.id), warn)
        self._runs.store.happenings.container("restart", record)

    def kill(self, id: str, signal: str = "KILL") -> None:
        """Raises NotFound, Invalid (signal), Conflict (it does not run)."""
        from cais.container import ending

        number = ending.signal_number(signal, f"cannot kill container: {id}")
        try:
            record = self._records.get(id)
        except NotFound as error:
            raise NotFound(f"cannot kill container: {id}: {error.message}")
        self._runs.reach_processes(record)
        ending.kill(self._runs.store, record, number)
        if number == SIGKILL:
            self._runs.see_removed(record)

    def pause(self, id: str) -> None:
        """Its processes stand still. Raises NotFound, Conflict, Unsupported (no control groups)."""
        from cais.container import ending

        ending.pause(self._runs.store, self._records.get(id))

    def unpause(self, id: str) -> None:
        """Raises NotFound, Conflict."""
        from cais.container import ending

        ending.unpause(self._runs.store, self._records.get(id))

    def wait(self, id: str, condition: str = "not-running") -> int:
        """Waits; the exit code. ``condition``: ``not-running``, ``next-exit`` or ``removed``. Raises NotFound."""
        from cais.container import ending

        record = self._records.get(id)
        if condition == "removed":
            return ending.wait(self._runs.store, record, condition)
        with self._runs.store.witness(record):
            # As it is now: it may have ended, and be on its way out, since somebody looked.
            return ending.wait(self._runs.store, self._records.get(record.id), condition)

    @property
    def _records(self) -> ContainerRecords:
        return ContainerRecords(self._stores.database)


def _streams(interactive: bool, streams: Streams | None) -> Streams:
    from cais.runtime.runner import Streams

    found = Streams(0) if streams is None else streams
    return found if interactive else found._replace(stdin=-1)
