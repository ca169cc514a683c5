"""What runs containers: the wiring of their rooms, and what is left of killed commands taken away."""

from __future__ import annotations

import os

from cais.container.options import RunOptions
from cais.container.records import ContainerRecord, ContainerRecords
from cais.engine.stores import Stores
from cais.errors import CaisError, Denied, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cais.container.happenings import Happenings
    from cais.container.mount_options import MountPoint
    from cais.container.networking import Networking
    from cais.container.restart import Restarts
    from cais.container.store import Containers as Store
    from cais.container.store import FromImage
    from cais.image.store import Image
    from cais.ports import Progress
    from cais.runtime.runner import Bundle, Runtime, Streams


# Of the processes that wait for a container's sake: nothing of the environment of whoever started it.
ENVIRONMENT = {
    "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}

# Who waits for a container's end has read it long before.
_PATIENCE_SECONDS = 1.0
_RUN = "import sys; sys.exit(__import__(sys.argv[1], None, None, ('main',)).main(sys.argv[2:]))"


class ContainerRuns:
    """The containers of one root directory as things that run. ``enter`` comes before all that mounts or removes."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._made: Store | None = None
        self._runtime: Runtime | None = None

    def enter(self) -> None:
        """The private namespaces of this process; an ordinary user's are in what all its containers share.

        Raises Denied, also for the root directory of another user.
        """
        if os.geteuid() != 0:
            self._stores.database.require_own()
        self._stores.holder.enter()

    def enter_beside(self, record: ContainerRecord) -> None:
        """As ``enter``, for a command that reaches into the processes of a running container.

        Before anything else that enters, and in a process of one thread. Where the container's user namespace is not
        the common one (it was started before a crash of the holder), that is entered. Several containers of one
        command: the first decides.
        """
        self._stores.holder.enter(beside=record.id)

    def reach_processes(self, record: ContainerRecord) -> None:
        """What it takes to send signals to what runs in a container, and no more."""
        if os.geteuid() != 0:
            self.enter_beside(record)

    def reach(self) -> None:
        """As ``enter`` where the host allows it: what is only removed needs no mounts."""
        try:
            self.enter()
        except Denied:
            pass

    @property
    def records(self) -> ContainerRecords:
        return ContainerRecords(self._stores.database)

    def sweep(self) -> None:
        """Removes what killed commands left: bundles nobody owns, containers that should be gone with their end.

        Where who waited for a health check was killed, another one does.
        """
        # Whoever owns a bundle notes its end: there is nothing to look at, however many containers run.
        owned = self.runtime.owned()
        running = set(owned)
        for id, watched in self.records.up():
            if id in owned and not watched:
                continue
            try:
                record = self.records.get(id)
            except NotFound:
                continue  # removed since
            state = self.store.state(record)
            if state.is_up:
                running.add(record.id)
            if state.lives and watched:
                self._resume_watch(record)
        for record in self.records.forgotten():
            if self.store.witness(record).unseen(0):
                self.remove_quietly(record, wait=False)
        for bundle in self.runtime.leftovers(frozenset(running)):
            self.runtime.delete(bundle)
        self.store.rooms.connections.sweep(owned)

    def _resume_watch(self, record: ContainerRecord) -> None:
        from cais.container import watch
        from cais.container.plan import Plan

        check = Plan.from_json(record.plan).health
        if check is not None and check.args:
            directory = self.store.directory(record.id)
            watch.resume(directory, check, self.command("health", record.id), ENVIRONMENT)

    def create(self, options: RunOptions, progress: Progress | None = None) -> ContainerRecord:
        """A container of an image, which is pulled where it is not here. Raises NotFound, Invalid, Conflict, ..."""
        from cais.container.plan import plan
        from cais.runtime.limits import Resources

        if options.runtime:
            _check_runtime(options.runtime)
        image = self._image(options, progress)
        run = image.config.run
        inherited: Sequence[MountPoint] = ()
        if options.volumes_from:
            from cais.engine.container_mounts import mounts_of_others

            inherited = mounts_of_others(self.records, options.volumes_from)

        def plan_for(id: str) -> Any:
            directory = os.getcwd() if _has_relative_path(options) else ""
            decided = plan(run, options, id, directory, self._joinable, inherited)
            if decided.resources != Resources():
                from cais.container.resources import check_here

                check_here(decided.resources)
            decided = decided._replace(networking=self._with_found(decided.networking, options.name))
            if decided.mounts:
                from cais.engine.container_mounts import check_mounts

                return check_mounts(self._stores, decided)
            return decided

        self.sweep()
        plan_for("0" * 64)  # what is wrong is said before anything is unpacked or made
        return self.store.create(
            self._from_image(image, options.image), plan_for, name=options.name, auto_remove=options.remove
        )

    def defaults(self) -> dict[str, str]:
        """What a container has that asks for nothing: the OCI runtime's name, and its namespace of control groups."""
        from cais.runtime.find import cgroups, find_runtime

        try:
            name = find_runtime(self._stores.settings.runtime).name
        except CaisError:
            name = ""
        return {"runtime": name, "cgroup_namespace": "private" if cgroups().writable else "host"}

    def _joinable(self, name: str, kind: str) -> str:
        """The id of a container whose namespace of a ``kind`` may be joined. Raises NotFound, Conflict."""
        from cais.container.namespaces import check_joinable
        from cais.container.plan import Plan

        try:
            record = self.records.get(name)
        except (NotFound, Invalid) as error:
            raise NotFound(error.message, exit_code=125)
        check_joinable(kind, Plan.from_json(record.plan).namespaces, record.id)
        return record.id

    def _with_found(self, networking: Networking, own_name: str) -> Networking:
        """Another container whose network is used, by its id: names change. Raises where a link leads nowhere."""
        links = networking.networks[0].links if networking.networks else ()
        if links:
            from cais.engine.container_links import check_links

            check_links(self.records, networking.mode, links)
        other = networking.shared_with
        if not other:
            return networking
        if other == own_name:
            raise Invalid("cannot join own network", exit_code=125)
        try:
            return networking._replace(mode=f"container:{self.records.get(other).id}")
        except NotFound as error:
            raise NotFound(error.message, exit_code=125)

    def _image(self, options: RunOptions, progress: Progress | None) -> Image:
        from cais.spec.platform import Platform

        platform = Platform.parse(options.platform, self._stores.platform) if options.platform else None
        missing: NotFound | None = None
        try:
            if options.pull != "always":
                try:
                    return self._stores.images.get(options.image, platform)
                except NotFound as error:
                    missing = error
                    if options.pull == "never":
                        raise
            from cais.engine.pull import pull_to_run

            pull_to_run(self._stores, options.image, platform, progress, missing)
            return self._stores.images.get(options.image, platform)
        except Invalid as error:
            raise Invalid(error.message, hint=error.hint, exit_code=125)

    def _from_image(self, image: Image, name: str) -> FromImage:
        from cais.container.store import FromImage
        from cais.image.layers import ensure_unpacked

        chain = ensure_unpacked(self._stores.content, self._stores.snapshots, image.config, image.manifest)
        return FromImage(image.id, name, image.manifest.digest, chain)

    def directly(self, record: ContainerRecord, streams: Streams, warn: Callable[[str], None]) -> int:
        """To the end; the exit code. It is removed, and the guardian goes with it."""
        from cais.container import starting

        try:
            return starting.directly(self.store, record, streams, warn)
        finally:
            self.runtime.let_guardian_go()
            # Else somebody stands still; the next command that sweeps removes it.
            if self.store.witness(record).unseen(_PATIENCE_SECONDS):
                self.remove_quietly(record)
            self.runtime.close()

    def detached(
        self,
        record: ContainerRecord,
        warn: Callable[[str], None],
        *,
        console_size: tuple[int, int] | None = None,
        before: Callable[[Bundle], None] | None = None,
        restarts: Restarts | None = None,
    ) -> bool:
        """Under conmon, which calls ``cais.engine.finish`` after its end. See ``starting.under_conmon``."""
        from cais.container import starting

        commands = starting.Commands(self.command("finish", record.id), self.command("health", record.id), ENVIRONMENT)
        try:
            return starting.under_conmon(
                self.store, record, warn, commands, console_size=console_size, before=before, restarts=restarts
            )
        except BaseException:
            if record.auto_remove:
                self.remove_quietly(record)
            raise

    def command(self, module: str, *arguments: str) -> tuple[str, ...]:
        """What runs a module of the engine, on this root directory, in ``ENVIRONMENT``."""
        import sys

        settings = self._stores.settings
        # -P: nothing is imported from the directory that the caller happens to stand in. -S and no -m: what looks for
        # packages, and for a module to run, costs a fifth of what is done here after the end of each container.
        return (
            sys.executable, "-P", "-S", "-c", _RUN, f"cais.engine.{module}", self._stores.root, settings.driver,
            settings.runtime, *arguments,
        )  # fmt: skip

    def remove_quietly(self, record: ContainerRecord, *, wait: bool = True) -> None:
        """With its anonymous volumes, as ``--rm`` does it. Without ``wait`` another command that is at it is left.

        One that was started again meanwhile stays.
        """
        try:
            self.store.remove(record, volumes=True, wait=wait)
        except CaisError:
            pass  # another command removes it at the same time, or has started it

    def see_removed(self, record: ContainerRecord) -> None:
        """After a stop: one that is removed with its end is gone, whoever does it first."""
        if not record.auto_remove or not self.store.witness(record).unseen(_PATIENCE_SECONDS):
            return
        self.reach()
        self.remove_quietly(record)

    def finish(self, id: str) -> Sequence[str]:
        """After the end of a detached container: its record says so, and ``--rm`` is done. conmon calls it.

        What this process has to execute next, where the container is to be started again; else nothing.
        """
        self.enter()
        try:
            record = self.records.get(id)
        except NotFound:
            return ()
        from cais.container import starting

        self._stores.database.write_back_soon()  # nobody waits for this
        restarts = starting.finish(self.store, record)
        if restarts is not None:
            from cais.container.waiting import delayed

            return delayed(restarts.wait_milliseconds / 1000, self.command("finish", "--restart", id))
        if record.auto_remove:
            self.store.witness(record).unseen()
            if not self.store.state(self.records.get(id)).is_up:
                self.remove_quietly(record)
        return ()

    def restart_waited(self, id: str) -> None:
        """Starts a container whose policy wants it so, after the wait. Raises as ``detached``."""
        self.enter()
        record = self.records.get(id)
        self.detached(record, lambda line: None, restarts=record.restarts)

    @property
    def runtime(self) -> Runtime:
        """What the store runs with."""
        if self._runtime is None:
            from cais.runtime.runner import Runtime

            self._runtime = Runtime(self._stores.root, self._stores.settings.runtime, self._stores.moves)
        return self._runtime

    @property
    def directory(self) -> str:
        """The parent of all containers' directories."""
        return os.path.join(self._stores.root, "containers")

    @property
    def happenings(self) -> Happenings:
        """What is told to the log of events."""
        from cais.container.happenings import Happenings

        return Happenings(self._stores.events)

    @property
    def store(self) -> Store:
        if self._made is None:
            from cais.container.connecting import Connections
            from cais.container.prepare import Rooms
            from cais.container.store import Containers as Store
            from cais.volume.store import VolumeStore

            root = self._stores.root
            rooms = Rooms(
                self._stores.snapshots,
                VolumeStore(root, self._stores.database),
                self.runtime,
                self.directory,
                self._stores.events,
                Connections(root, self._stores.database, self.runtime, self.directory, self._stores.holder),
            )
            self._made = Store(self._stores.database, rooms)
        return self._made


def _check_runtime(name: str) -> None:
    """Raises Invalid with Docker's words."""
    from cais.runtime.find import find_runtime

    try:
        find_runtime(name)
    except CaisError as error:
        raise Invalid(
            f"unknown or invalid runtime name: {name}",
            hint=f"{error.message[:1].upper()}{error.message[1:]}.",
            exit_code=125,
        )


def _has_relative_path(options: RunOptions) -> bool:
    return any(item.startswith(".") for item in options.volumes) or any("=." in item for item in options.mounts)
