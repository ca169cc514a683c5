"""Containers: created, started, stopped and removed, over the records and the stores below."""

from __future__ import annotations

import os
import time

from cais.container import names
from cais.container.happenings import Happenings
from cais.container.plan import Plan
from cais.container.prepare import Rooms
from cais.container.records import ContainerRecord, ContainerRecords
from cais.container.state import State, look
from cais.errors import CaisError, Conflict, NotFound, Unavailable, from_os_error
from cais.host.database import Database
from cais.host.files import random_name, remove_tree
from cais.host.locks import FileLock
from cais.host.processes import send_signal
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG = "log"
_NAME_ATTEMPTS = 30
# A directory without a record is younger than this while somebody makes it, or removes it.
_MAKING_SECONDS = 10
_STEP_SECONDS = 0.005
# Who waits for a container's end has read it long before, unless it stands still itself.
_PATIENCE_SECONDS = 1.0
_STOP = ": stop the container before removing or force remove"
_NOT_YET = {
    "running": f"running{_STOP}",
    "restarting": f"restarting{_STOP}",
    "paused": "paused and must be unpaused first",
}


class FromImage(NamedTuple):
    """What a container keeps of its image. ``chain`` is the topmost chain id of its unpacked layers, or None."""

    id: str
    name: str
    manifest: str
    chain: Digest | None


class Locked:
    """``with store.locked(record) as record:`` the container's lock, and its record as it is now."""

    def __init__(self, containers: Containers, record: ContainerRecord, wait: bool) -> None:
        self._containers = containers
        self._record = record
        self._wait = wait
        self._lock = FileLock(os.path.join(containers.directory(record.id), "lock"))

    def __enter__(self) -> ContainerRecord:
        """Raises NotFound where it was removed meanwhile; Conflict where ``wait`` is False and another has it."""
        try:
            if not self._lock.acquire(blocking=self._wait):
                raise Conflict(f"another command works on container {self._record.name}")
        except FileNotFoundError:
            raise NotFound(f"No such container: {self._record.name}")
        try:
            return self._containers.records.get(self._record.id)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Witness:
    """A shared lock; whoever removes a container by itself after its end takes it alone first (``unseen``)."""

    def __init__(self, directory: str) -> None:
        self._lock = FileLock(os.path.join(directory, "witness"))

    def __enter__(self) -> None:
        """Raises NotFound."""
        try:
            self._lock.acquire(shared=True)
        except FileNotFoundError:
            raise NotFound("No such container")

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def unseen(self, patience_seconds: float | None = None) -> bool:
        """Whether nobody needs the exit code any more; for that this waits, if need be for ever."""
        try:
            if patience_seconds is None:
                return self._lock.acquire()
            end = time.monotonic() + patience_seconds
            while not self._lock.acquire(blocking=False):
                if time.monotonic() >= end:
                    return False
                time.sleep(_STEP_SECONDS)
            return True
        except FileNotFoundError:
            return True
        finally:
            self._lock.release()


class Containers:
    """The containers of one root directory, over the stores that they stand on (``rooms``).

    Whoever starts, pauses or removes one does it under its lock (``locked``); the room's page has the order of locks.
    """

    def __init__(self, database: Database, rooms: Rooms) -> None:
        self.records = ContainerRecords(database)
        self.rooms = rooms
        self.happenings = Happenings(rooms.events, lambda name: rooms.connections.networks.records.get(name))

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
            if plan.storage_opts:
                from cais.container import storage

                storage.bound(prepared.directory, plan.storage_opts)
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
            self.rooms.volumes.let_go()
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
        """Makes the volumes that are missing; the plan names them from now on. The caller lets them go."""
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
                self.rooms.volumes.hold(volume.name)
            points.append(point)
        return plan._replace(mounts=tuple(points))

    def replace_plan(self, record: ContainerRecord, plan: Plan) -> None:
        """What it runs from its next start on, with the volumes of it. Raises Conflict where another command changed
        it since ``record`` was read."""
        volumes: list[tuple[str, bool]] = []
        try:
            plan = self._with_volumes(plan, volumes)
            self.records.replace_plan(record, encode(plan.to_json()).decode("utf-8", "surrogateescape"), volumes)
        finally:
            self.rooms.volumes.let_go()
        self.happenings.container("update", record)

    def directory(self, id: str) -> str:
        return os.path.join(self.rooms.directory, id)

    def log_path(self, id: str) -> str:
        return os.path.join(self.directory(id), LOG)

    def state(self, record: ContainerRecord) -> State:
        """The truth; where the record says otherwise, it is corrected."""
        found = look(record, self.rooms.runtime, self.rooms.directory)
        if record.state in ("running", "restarting") and not found.is_up:
            try:
                if not self.ended(record, found):
                    # Another has noted it since the record was read, and may know better.
                    return look(self.records.get(record.id), self.rooms.runtime, self.rooms.directory)
            except CaisError:
                pass  # a root directory that cannot be written can still be read
        return found

    def ended(self, record: ContainerRecord, found: State) -> bool:
        """Notes the end of a run; the first one who does so tells it. Whether that was this call."""
        code, finished = found.exit_code, found.finished
        noted = self.records.correct(record, code, finished, oom_killed=found.oom_killed)
        if noted and record.state == "running":
            if found.oom_killed:
                self.happenings.container("oom", record)
            self.happenings.died(record, code, finished)
        return noted

    def witness(self, record: ContainerRecord) -> Witness:
        """``with store.witness(record):`` one that is removed with its end stays until its exit code was read."""
        return Witness(self.directory(record.id))

    def signal(self, record: ContainerRecord, number: int) -> None:
        """Passes on a signal that a command got for the container; to one that has ended it goes nowhere."""
        process = self.rooms.runtime.process(self.rooms.runtime.opened(record.id))
        if process is not None:
            send_signal(process.pid, number, process.start_ticks)

    def locked(self, record: ContainerRecord, *, wait: bool = True) -> Locked:
        """Nobody else starts, pauses, finishes or removes it meanwhile (see the room's page)."""
        return Locked(self, record, wait)

    def remove(self, record: ContainerRecord, *, force: bool = False, volumes: bool = False, wait: bool = True) -> None:
        """Raises Conflict where it is up and ``force`` is not given. ``volumes``: its anonymous ones, too.

        Killed on the way it is noted as being removed, and the next command that sweeps goes on with it.
        """
        with self.locked(record, wait=wait) as record:
            found = self.state(record)
            if found.is_up:
                if not force:
                    raise Conflict(f'cannot remove container "/{record.name}": container is {_NOT_YET[found.status]}')
                from cais.container import ending

                ending.end_now(self, record, found)
                self.state(record)
                self.witness(record).unseen(_PATIENCE_SECONDS)
            self._set_removing(record)
            self.end_watch(record)
            self.leave_networks(record)
            bundle = self.rooms.runtime.opened(record.id)
            if os.path.isdir(bundle.directory):
                self.rooms.runtime.delete(bundle)
            anonymous = [item for item in self.records.volumes_of(record.id) if item[1]] if volumes else []
            self.rooms.snapshots.remove(record.snapshot)
            with self.records.database.transaction() as change:
                self.records.remove(change, record.id)
            self._remove_directory(record.id)
        self._remove_volumes(anonymous)
        self.happenings.container("destroy", record)

    def _set_removing(self, record: ContainerRecord) -> None:
        """On a disk that is full what it wrote makes the room to note this."""
        try:
            self.records.set_removing(record.id)
        except Unavailable:
            try:
                os.truncate(self.log_path(record.id), 0)
            except OSError as error:
                raise from_os_error(error, "remove a container")
            self.records.set_removing(record.id)

    def _remove_directory(self, id: str) -> None:
        """Under another name at first: who still writes there (its end is being noted) does not find it any more."""
        doomed = f"{self.directory(id)}.removed"
        try:
            os.utime(self.directory(id))  # nobody takes it for an old one
            os.rename(self.directory(id), doomed)
        except FileNotFoundError:
            return
        except OSError as error:
            raise from_os_error(error, "remove a container's directory")
        remove_tree(doomed)

    def leave_networks(self, record: ContainerRecord) -> None:
        if Plan.from_json(record.plan).networking.networks:
            self.rooms.connections.leave(record.id)

    def end_watch(self, record: ContainerRecord) -> None:
        """Its health is not checked any more."""
        if "health" in record.plan:
            from cais.container import watch

            watch.end(self.directory(record.id))

    def _remove_volumes(self, volumes: Sequence[tuple[str, bool]]) -> None:
        for name, anonymous in volumes:
            if anonymous:
                try:
                    self.rooms.volumes.remove(name, lambda name=name: self.records.users_of_volume(name))  # type: ignore[misc]
                    self.happenings.volume("destroy", name, driver="local")
                except CaisError:
                    pass  # another container has it, or it is gone

    def orphans(self) -> list[str]:
        """Directories that no record names, and nobody is about to make or to remove: what killed commands left."""
        try:
            found = os.listdir(self.rooms.directory)
        except FileNotFoundError:
            return []
        known = {record.id for record in self.records.all()}
        paths = [os.path.join(self.rooms.directory, name) for name in sorted(found) if name not in known]
        return [path for path in paths if _is_old(path)]


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime > _MAKING_SECONDS
    except FileNotFoundError:
        return False
