"""Containers: created, started, stopped and removed, over the records and the stores below."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from cais.container import names, prepare, state
from cais.container.happenings import Happenings
from cais.container.plan import Plan
from cais.container.prepare import Rooms
from cais.container.records import ContainerRecord, ContainerRecords
from cais.container.restart import BY_HAND, Restarts
from cais.errors import CaisError, Conflict, NotFound, from_os_error
from cais.host.database import Database
from cais.host.files import random_name, remove_tree
from cais.host.locks import FileLock
from cais.host.processes import send_signal, wait_gone
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from cais.container.foreground import Streams
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

LOG = "log"
_NAME_ATTEMPTS = 30


class FromImage(NamedTuple):
    """What a container keeps of its image. ``chain`` is the topmost chain id of its unpacked layers, or None."""

    id: str
    name: str
    manifest: str
    chain: Digest | None


class Containers:
    def __init__(self, database: Database, rooms: Rooms) -> None:
        self.records = ContainerRecords(database)
        self.rooms = rooms
        self.happenings = Happenings(rooms.events)

    def create(
        self,
        image: FromImage,
        plan_for: Callable[[str], Plan],
        *,
        name: str = "",
        auto_remove: bool = False,
    ) -> ContainerRecord:
        """A record, a writable layer, its volumes. ``plan_for(id)`` decides what it runs. Raises Conflict, Invalid."""
        id = random_name(32)
        plan = plan_for(id)
        if name:
            name = names.check_name(name)
            self.records.check_name_is_free(name)
        prepared = self.rooms.snapshots.prepare(image.chain)
        directory = self.directory(id)
        volumes: list[tuple[str, bool]] = []
        done = False
        try:
            os.makedirs(directory, 0o711, exist_ok=True)
            plan = self._with_volumes(plan, volumes)
            record = ContainerRecord(
                id, name, image.id, image.name, image.manifest, image.chain or "", prepared.id, time.time(),
                auto_remove=auto_remove, plan_json=encode(plan.to_json()).decode("utf-8", "surrogateescape"),
            )  # fmt: skip
            record = self._add(record, volumes)
            done = True
            self.happenings.container("create", record)
            return record
        except OSError as error:
            raise from_os_error(error, "create a container")
        finally:
            if not done:
                self.rooms.snapshots.discard(prepared)
                self._remove_volumes(volumes)
                remove_tree(directory)

    def _add(self, record: ContainerRecord, volumes: Sequence[tuple[str, bool]]) -> ContainerRecord:
        if record.name:
            self.records.add(record, volumes)
            return record
        for attempt in range(_NAME_ATTEMPTS):
            named = record._replace(name=names.random_name(attempt))
            try:
                self.records.add(named, volumes)
            except Conflict:
                continue
            return named
        raise Conflict("no random name is free: give the container one with --name", exit_code=125)

    def _with_volumes(self, plan: Plan, volumes: list[tuple[str, bool]]) -> Plan:
        """Makes the volumes that are missing; the plan names them from now on."""
        points = []
        for point in plan.mounts:
            if point.kind == "volume":
                labels = dict(item.partition("=")[::2] for item in point.labels)
                now = time.time()
                options = dict(item.partition("=")[::2] for item in point.driver_options)
                volume = self.rooms.volumes.create(point.source, driver=point.driver, options=options, labels=labels)
                if volume.created >= now:
                    self.happenings.volume("create", volume.name, driver="local")
                point = point._replace(source=volume.name)
                volumes.append((volume.name, point.anonymous))
            points.append(point)
        return plan._replace(mounts=tuple(points))

    def directory(self, id: str) -> str:
        return os.path.join(self.rooms.directory, id)

    def log_path(self, id: str) -> str:
        return os.path.join(self.directory(id), LOG)

    def state(self, record: ContainerRecord) -> state.State:
        """The truth; where the record says otherwise, it is corrected."""
        found = state.look(record, self.rooms.runtime, self.rooms.directory)
        if record.state in ("running", "restarting") and not found.is_up:
            try:
                self._ended(record, found.exit_code, found.finished)
            except CaisError:
                pass  # a root directory that cannot be written can still be read
        return found

    def _ended(self, record: ContainerRecord, exit_code: int, finished: float) -> None:
        """Notes the end of a run; the first one who does so tells it."""
        if self.records.correct(record, exit_code, finished) and record.state == "running":
            self.happenings.died(record, exit_code, finished)

    def run_foreground(
        self, record: ContainerRecord, streams: Streams, warn: Callable[[str], None], *, log: bool = True
    ) -> int:
        """Runs to the end; the exit code. Raises with exit code 125, 126 or 127 where it did not start."""
        from cais.container import foreground
        from cais.container.attach import Signals

        plan = Plan.from_json(record.plan)
        console_size = None
        if plan.tty:
            from cais.container import terminal

            console_size = terminal.size(streams.stdin if streams.stdin >= 0 else streams.stdout)
        with self.lock(record):
            try:
                self._clear(record)
                ready = prepare.prepare(self.rooms, record, plan, console_size=console_size)
            except BaseException as error:
                self._note_failure(record, error)
                raise
            # There is a bundle now, with this process as its owner: nobody takes the record for a dead one's.
            record = record._replace(state="running", started=time.time())
            self.records.set_started(record.id, record.started)
            self.rooms.volumes.let_go()
        self.happenings.mounted(record, plan)
        for line in ready.warnings:
            warn(line)
        with Signals() as signals:
            try:
                code = foreground.run(
                    self.rooms.runtime,
                    ready,
                    streams,
                    signals,
                    log=self.log_path(record.id) if log else "",
                    sig_proxy=plan.sig_proxy,
                    tty=plan.tty,
                    on_begun=lambda: self.happenings.container("start", record),
                )
            except BaseException as error:
                self._note_failure(record, error)
                prepare.undo(self.rooms, ready)
                raise
            self._ended(record, code, time.time())
            prepare.undo(self.rooms, ready)
        return code

    def start_detached(
        self,
        record: ContainerRecord,
        warn: Callable[[str], None],
        on_exit: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        *,
        restarts: Restarts | None = None,
        on_check: Sequence[str] = (),
    ) -> None:
        """Starts it under conmon. Raises Unavailable without conmon, and as ``run_foreground``.

        ``on_exit`` is run after its end, ``on_check`` for each health check, with ``environment``.
        ``restarts``: it was waited for this, and nothing is done where somebody has ended the wait.
        """
        from cais.runtime import conmon

        plan = Plan.from_json(record.plan)
        exits = state.exit_directory(self.rooms.directory, record.id)
        ready = None
        with self.lock(record):
            if restarts is not None and self.records.get(record.id).state != "restarting":
                return
            try:
                self._clear(record)
                os.makedirs(exits, 0o700, exist_ok=True)
                ready = prepare.prepare(self.rooms, record, plan)
                self.records.set_started(record.id, time.time(), restarts=restarts or Restarts())
                self.rooms.volumes.let_go()
                self.happenings.mounted(record, plan)
                for line in ready.warnings:
                    warn(line)
                if plan.health is not None and plan.health.args:
                    from cais.container import watch

                    watch.begin(self.directory(record.id), plan.health, on_check, environment or {})
                conmon.start_detached(
                    self.rooms.runtime,
                    ready.spec,
                    ready.bundle,
                    name=record.name,
                    log=self.log_path(record.id),
                    exit_directory=exits,
                    stdin=plan.stdin,
                    on_exit=on_exit,
                    environment=environment or {},
                    keep=ready.connection.reserved,
                )
                ready.connection.close()
                self.happenings.container("start", record)
            except BaseException as error:
                if ready is not None:
                    self.rooms.runtime.command("delete", "--force", record.id)
                    prepare.undo(self.rooms, ready)
                self._end_watch(record)
                self._note_failure(record, error)
                raise

    def _end_watch(self, record: ContainerRecord) -> None:
        """Its health is not checked any more."""
        if "health" in record.plan:
            from cais.container import watch

            watch.end(self.directory(record.id))

    def lock(self, record: ContainerRecord) -> FileLock:
        """Held while a container is started, and while what is left of its last run is taken away. Raises NotFound."""
        directory = self.directory(record.id)
        if not os.path.isdir(directory):
            raise NotFound(f"No such container: {record.name}")
        return FileLock(os.path.join(directory, "lock"))

    def _note_failure(self, record: ContainerRecord, error: BaseException) -> None:
        if isinstance(error, CaisError):
            ran = record.started > 0
            self.records.set_exited(record.id, error.exit_code, time.time(), error.message, started=ran)
        else:
            self.records.set_exited(record.id, state.UNKNOWN_EXIT_CODE, time.time())

    def _clear(self, record: ContainerRecord) -> None:
        """What an earlier run left behind: its exit code, and a bundle that nobody owns."""
        try:
            os.unlink(os.path.join(state.exit_directory(self.rooms.directory, record.id), record.id))
        except FileNotFoundError:
            pass
        self._leave_networks(record)
        bundle = self.rooms.runtime.opened(record.id)
        if os.path.isdir(bundle.directory):
            self.rooms.runtime.delete(bundle)

    def _leave_networks(self, record: ContainerRecord) -> None:
        if Plan.from_json(record.plan).networking.networks:
            self.rooms.connections.leave(record.id)

    def finish_detached(self, record: ContainerRecord) -> Restarts | None:
        """After the end of a detached container: the runtime forgets it, the record says how it ended.

        The restart that follows by its policy, for which this process waits; or None. One that was started again
        meanwhile is left alone.
        """
        from cais.container import restart, waiting

        with self.lock(record):
            record = self.records.get(record.id)
            if record.state == "restarting":
                return None
            found = self.state(record)
            if found.status not in ("exited", "restarting"):
                return None
            policy = Plan.from_json(record.plan).restart
            restarts = restart.after(policy, record.restarts, found.exit_code, found.finished - record.started)
            if restarts is not None:
                waiting.note(self.directory(record.id), waiting.RESTART, os.getpid())
                self.records.set_restarting(record.id, found.exit_code, found.finished, restarts)
                self.happenings.died(record, found.exit_code, found.finished)
            self._end_watch(record)
            self._leave_networks(record)
            # Last: as long as the bundle is ours, nobody takes the container for one that has come to its end.
            self.rooms.runtime.delete(self.rooms.runtime.opened(record.id))
            return restarts

    def _stop_waiting(self, record: ContainerRecord) -> None:
        """Whoever waits to start it again does not do it any more."""
        from cais.container import waiting

        with self.lock(record):
            record = self.records.get(record.id)
            if record.state == "restarting":
                self.records.set_exited(record.id, record.exit_code, record.finished)
                waiting.end(self.directory(record.id), waiting.RESTART)

    def kill(self, record: ContainerRecord, number: int) -> None:
        """Raises Conflict where it does not run."""
        from cais.container.options import parse_signal

        found = self.state(record)
        if not found.is_up:
            raise Conflict(f"cannot kill container: {record.name}: container {record.id} is not running")
        if number in (signal.SIGKILL, signal.SIGTERM, parse_signal(Plan.from_json(record.plan).stop_signal)):
            self.records.set_stopped(record.id)
            if found.status == "restarting":
                self._stop_waiting(record)
        if found.process is not None:
            send_signal(found.process.pid, number, found.process.start_ticks)
            self.happenings.container("kill", record, signal=str(number))

    def stop(self, record: ContainerRecord, timeout_seconds: int | None = None, how: int = BY_HAND) -> None:
        """Asks it to end, and kills it after ``timeout_seconds`` (negative: never). Not running is no error.

        ``how`` is kept for the next boot (``restart.at_boot``).
        """
        from cais.container.options import parse_signal

        self.records.set_stopped(record.id, how)
        found = self.state(record)
        if found.status == "restarting":
            self._stop_waiting(record)
            found = self.state(self.records.get(record.id))
        if found.process is None:
            return
        plan = Plan.from_json(record.plan)
        patience = plan.stop_timeout_seconds if timeout_seconds is None else timeout_seconds
        process = found.process
        number = parse_signal(plan.stop_signal)
        send_signal(process.pid, number, process.start_ticks)
        self.happenings.container("kill", record, signal=str(number))
        if not wait_gone(process.pid, process.start_ticks, patience):
            send_signal(process.pid, signal.SIGKILL, process.start_ticks)
            self.happenings.container("kill", record, signal=str(int(signal.SIGKILL)))
            wait_gone(process.pid, process.start_ticks, 10)
        self.wait(record)
        self.happenings.container("stop", record)

    def wait(self, record: ContainerRecord) -> int:
        """Waits for its end; the exit code. One that never ran gives 0, as in Docker."""
        began = time.time()
        while True:
            found = self.state(record)
            if not found.is_up or (found.status == "restarting" and found.finished >= began):
                break
            if found.process is None or wait_gone(found.process.pid, found.process.start_ticks, 1):
                time.sleep(0.01)  # its end is being noted by whoever started it
            try:
                record = self.records.get(record.id)
            except CaisError:
                return found.exit_code  # removed with its end
        return found.exit_code

    def remove(self, record: ContainerRecord, *, force: bool = False, volumes: bool = False) -> None:
        """Raises Conflict where it runs and ``force`` is not given. ``volumes``: its anonymous ones, too."""
        found = self.state(record)
        if found.is_up:
            if not force:
                raise Conflict(
                    f'cannot remove container "/{record.name}": container is {found.status}: stop the container before '
                    "removing or force remove"
                )
            self.records.set_stopped(record.id)
            if found.status == "restarting":
                self._stop_waiting(record)
            if found.process is not None:
                send_signal(found.process.pid, signal.SIGKILL, found.process.start_ticks)
                self.happenings.container("kill", record, signal=str(int(signal.SIGKILL)))
                wait_gone(found.process.pid, found.process.start_ticks, 10)
            self._ended(record, state.UNKNOWN_EXIT_CODE, time.time())
        self._end_watch(record)
        self._leave_networks(record)
        bundle = self.rooms.runtime.opened(record.id)
        if os.path.isdir(bundle.directory):
            self.rooms.runtime.delete(bundle)
        anonymous = [item for item in self.records.volumes_of(record.id) if item[1]] if volumes else []
        with self.records.database.transaction() as change:
            self.records.remove(change, record.id)
        self.rooms.snapshots.remove(record.snapshot)
        self._remove_directory(record.id)
        self._remove_volumes(anonymous)
        self.happenings.container("destroy", record)

    def _remove_directory(self, id: str) -> None:
        """Under another name at first: who still writes there (its end is being noted) does not find it any more."""
        doomed = f"{self.directory(id)}.removed"
        try:
            os.rename(self.directory(id), doomed)
        except FileNotFoundError:
            return
        except OSError as error:
            raise from_os_error(error, "remove a container's directory")
        remove_tree(doomed)

    def _remove_volumes(self, volumes: Sequence[tuple[str, bool]]) -> None:
        for name, anonymous in volumes:
            if anonymous:
                try:
                    self.rooms.volumes.remove(name, lambda name=name: self.records.users_of_volume(name))  # type: ignore[misc]
                    self.happenings.volume("destroy", name, driver="local")
                except CaisError:
                    pass  # another container has it, or it is gone

    def orphans(self) -> list[str]:
        """Directories that no record names: what killed commands left."""
        try:
            found = os.listdir(self.rooms.directory)
        except FileNotFoundError:
            return []
        known = {record.id for record in self.records.all()}
        return [os.path.join(self.rooms.directory, name) for name in sorted(found) if name not in known]
