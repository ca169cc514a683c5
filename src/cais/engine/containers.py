"""Containers: create, start, run, list, inspect, logs, stop, remove, commit, prune."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cais.container.options import RunOptions
from cais.container.records import ContainerRecord, ContainerRecords
from cais.container.state import State
from cais.engine.stores import Stores
from cais.errors import CaisError, Conflict, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.container.foreground import Streams
    from cais.container.logs import LogLine
    from cais.container.store import Containers as Store
    from cais.container.store import FromImage
    from cais.container.views import ContainerSummary
    from cais.image.store import Image
    from cais.runtime.runner import Runtime

    Rows = list[ContainerSummary]
    Findings = list[tuple[str, str, str]]

__all__ = ["Container", "Containers", "PruneReport", "RunOptions", "RunResult"]


class Container(NamedTuple):
    id: str
    name: str


class RunResult(NamedTuple):
    """``exit_code`` is 0 for one that was detached."""

    id: str
    exit_code: int


class PruneReport(NamedTuple):
    """``removed``: ids."""

    removed: list[str]
    reclaimed_bytes: int


class Containers:
    """The containers of one root directory."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._made: Store | None = None

    def create(self, options: RunOptions) -> Container:
        """A container that does not run yet. Raises NotFound (image), Invalid, Conflict (name), Unsupported."""
        self._enter()
        record = self._create(options)
        return Container(record.id, record.name)

    def run(
        self, options: RunOptions, streams: Streams | None = None, warn: Callable[[str], None] = print
    ) -> RunResult:
        """Creates and starts; in the foreground to the end. ``warn`` is given lines for the user.

        Raises as ``create``; with exit code 125, 126 or 127 where it did not start.
        """
        self._enter()
        record = self._create(options)
        if options.detach:
            self._start_detached(record, warn)
            return RunResult(record.id, 0)
        try:
            code = self._run_foreground(record, _streams(options.interactive, streams), warn, log=not options.remove)
        finally:
            if options.remove:
                self._remove_quietly(record)
        return RunResult(record.id, code)

    def start(
        self,
        id: str,
        attach: bool = False,
        interactive: bool = False,
        streams: Streams | None = None,
        warn: Callable[[str], None] = print,
    ) -> int:
        """Starts a container: detached, or with ``attach`` to its end; then the exit code. Running already is no error.

        Raises NotFound; Conflict where it runs and should be attached to; as ``run`` where it does not start.
        """
        self._enter()
        record = self._records.get(id)
        if self._store.state(record).status == "running":
            if attach:
                raise Conflict(f"the container {record.name} runs already: attaching to it is not in this version")
            return 0
        if not attach:
            self._start_detached(record, warn)
            return 0
        try:
            return self._run_foreground(record, _streams(interactive, streams), warn)
        finally:
            if record.auto_remove:
                self._remove_quietly(record)

    def stop(self, id: str, timeout_seconds: int | None = None, signal: str = "") -> None:
        """Asks it to end, and kills it after its own or the given time. Raises NotFound."""
        record = self._records.get(id)
        if signal:
            from cais.container.options import parse_signal

            self._store.kill(record, parse_signal(signal))
        self._store.stop(record, timeout_seconds)

    def kill(self, id: str, signal: str = "KILL") -> None:
        """Raises NotFound, Invalid (signal), Conflict (it does not run)."""
        from cais.container.options import parse_signal

        self._store.kill(self._records.get(id), parse_signal(signal))

    def wait(self, id: str) -> int:
        """Waits for its end; the exit code. Raises NotFound."""
        return self._store.wait(self._records.get(id))

    def rename(self, id: str, name: str) -> None:
        """Raises NotFound, Invalid, Conflict."""
        from cais.container.names import check_name

        self._records.rename(self._records.get(id), check_name(name))

    def get(self, id: str) -> Container:
        """By id, the start of one, or name. Raises NotFound, Invalid."""
        record = self._records.get(id)
        return Container(record.id, record.name)

    def list(self, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None, limit: int = 0) -> Rows:
        """The newest first; without ``all`` only what runs. ``limit``: only so many, whatever they do.

        Starts no process and needs no runtime. Raises Invalid for a filter that there is not.
        """
        from cais.container import views

        filters = dict(filters or {})
        views.check_filters(filters)
        now = time.time()
        everything = all or limit > 0 or bool({"status", "exited"} & filters.keys())
        records = self._records.all() if everything else self._records.running()
        rows = []
        before, since = (self._created(filters, key) for key in ("before", "since"))
        ancestors = self._ancestors(filters.get("ancestor", ()))
        for record in records:
            state = self._look(record)
            if not everything and state.status != "running":
                continue
            row = views.summary(record, state, now)
            if not filters or views.passes(row, filters, before, since, ancestors):
                rows.append(row)
        return rows[:limit] if limit > 0 else rows

    def inspect(self, id: str, size: bool = False) -> dict[str, Any]:
        """Docker's JSON. ``size`` adds SizeRw and SizeRootFs, in bytes. Raises NotFound, Invalid."""
        from cais.container import views
        from cais.volume.store import VolumeStore

        record = self._records.get(id)
        directory = os.path.join(self._stores.root, "containers", record.id)
        volumes = {volume.name: volume.path for volume in VolumeStore(self._stores.root, self._stores.database).all()}
        value = views.inspect(
            record, self._look(record), log_path=os.path.join(directory, "log"), directory=directory,
            volume_paths=volumes,
        )  # fmt: skip
        if size:
            value["SizeRw"], value["SizeRootFs"] = self._sizes(record)
        return value

    def logs(
        self,
        id: str,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, line by line; ``follow`` goes on to its end. Times are in seconds since 1970.

        Raises NotFound, and Unsupported for one that keeps no log.
        """
        from cais.container import logs

        record = self._records.get(id)
        path = os.path.join(self._stores.root, "containers", record.id, "log")

        def waited(seconds: float) -> bool:
            time.sleep(seconds)
            try:
                return self._look(self._records.get(record.id)).status == "running"
            except NotFound:
                return False

        def stamp(moment: float | None) -> str:
            return "" if moment is None else logs.timestamp(int(moment * 1_000_000_000))

        return logs.read(path, follow=waited if follow else None, tail=tail, since=stamp(since), until=stamp(until))

    def remove(self, id: str, force: bool = False, volumes: bool = False) -> str:
        """Its id. ``volumes``: with its anonymous volumes. Raises NotFound, Conflict (it runs)."""
        self._enter()
        record = self._records.get(id)
        self._store.remove(record, force=force, volumes=volumes)
        return record.id

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> PruneReport:
        """Removes what does not run. Filters: ``until`` (a time or a duration), ``label``, ``label!``."""
        from cais.container import views
        from cais.host.files import tree_size_bytes
        from cais.image.filters import moment

        filters = dict(filters or {})
        views.check_filters(filters, frozenset(("until", "label", "label!")))
        limit = min((moment(text, time.time()) for text in filters.get("until", ())), default=None)
        self._enter()
        removed, size = [], 0
        for record in self._records.all():
            state = self._store.state(record)
            labels = record.plan.get("labels", {})
            if state.status == "running" or (limit is not None and record.created >= limit):
                continue
            if not all(_has_label(labels, text) for text in filters.get("label", ())):
                continue
            if any(_has_label(labels, text) for text in filters.get("label!", ())):
                continue
            size += tree_size_bytes(os.path.join(self._stores.snapshots.directory, record.snapshot))
            try:
                self._store.remove(record)
            except (NotFound, Conflict):
                continue
            removed.append(record.id)
        return PruneReport(removed, size)

    def commit(
        self,
        id: str,
        reference: str = "",
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """A new image of what the container changed; its id. Raises NotFound, Invalid, Unavailable."""
        from cais.engine.container_commit import commit

        record = self._records.get(id)
        self._enter()
        running = self._store.state(record).status == "running"
        return commit(
            self._stores, self._store.rooms, record, reference=reference, author=author, message=message,
            changes=changes, pause=pause and running,
        )  # fmt: skip

    def finish(self, id: str) -> None:
        """After the end of a detached container: its record says so, and ``--rm`` is done. conmon calls it."""
        self._enter()
        try:
            record = self._records.get(id)
        except NotFound:
            return
        self._store.finish_detached(record)
        if record.auto_remove and self._store.state(self._records.get(id)).status != "running":
            self._remove_quietly(record)

    def check(self, repair: bool = False) -> Findings:
        """What is wrong with containers: (subject, problem, what was done)."""
        findings: list[tuple[str, str, str]] = []
        known = {row[0] for row in self._stores.database.rows("SELECT id FROM snapshots")}
        for record in self._records.all():
            self._look(record, correct=True)
            if record.snapshot not in known:
                mended = ""
                if repair:
                    self._enter()
                    self._store.remove(record, force=True)
                    mended = "removed"
                findings.append((f"container {record.id}", "its file system is not there", mended))
        if repair:
            self._sweep_all()
        return findings

    def _sweep(self) -> None:
        """Removes what killed commands left: bundles nobody owns, containers that should be gone with their end."""
        running = set()
        for record in self._records.running():
            if self._store.state(record).status == "running":
                running.add(record.id)
            elif record.auto_remove:
                self._remove_quietly(record)
        for record in self._records.forgotten():
            self._remove_quietly(record)
        for bundle in self._runtime.leftovers(frozenset(running)):
            self._runtime.delete(bundle)

    def _sweep_all(self) -> None:
        """As ``_sweep``, and by a look at everything."""
        from cais.host.files import remove_tree

        self._enter()
        self._sweep()
        for path in self._store.orphans():
            remove_tree(path)

    def _create(self, options: RunOptions) -> ContainerRecord:
        from cais.container.plan import plan
        from cais.container.spec_oci import check_cpus

        image = self._image(options)
        run = image.config.run

        def plan_for(id: str) -> Any:
            decided = plan(run, options, id, os.getcwd() if _has_relative_path(options) else "")
            check_cpus(decided.resources, os.cpu_count() or 1)
            return decided

        self._sweep()
        plan_for("0" * 64)  # what is wrong is said before anything is unpacked or made
        return self._store.create(
            self._from_image(image, options.image), plan_for, name=options.name, auto_remove=options.remove
        )

    def _image(self, options: RunOptions) -> Image:
        from cais.spec.platform import Platform

        platform = Platform.parse(options.platform, self._stores.platform) if options.platform else None
        try:
            return self._stores.images.get(options.image, platform)
        except NotFound as error:
            raise NotFound(
                f"Unable to find image '{options.image}' locally",
                hint=error.hint or "Build or load it first (cais image build, cais image load).",
                exit_code=125,
            )
        except Invalid as error:
            raise Invalid(error.message, hint=error.hint, exit_code=125)

    def _from_image(self, image: Image, name: str) -> FromImage:
        from cais.container.store import FromImage
        from cais.image.layers import ensure_unpacked

        chain = ensure_unpacked(self._stores.content, self._stores.snapshots, image.config, image.manifest)
        return FromImage(image.id, name, image.manifest.digest, chain)

    def _run_foreground(
        self, record: ContainerRecord, streams: Streams, warn: Callable[[str], None], *, log: bool = True
    ) -> int:
        try:
            return self._store.run_foreground(record, streams, warn, log=log)
        finally:
            self._runtime.close()

    def _start_detached(self, record: ContainerRecord, warn: Callable[[str], None]) -> None:
        import sys

        import cais

        settings = self._stores.settings
        finish = (
            sys.executable,
            "-m",
            "cais.engine.finish",
            self._stores.root,
            record.id,
            settings.driver,
            settings.runtime,
        )
        package = os.path.dirname(os.path.dirname(os.path.abspath(cais.__file__)))
        environment = {"PYTHONPATH": package, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        try:
            self._store.start_detached(record, warn, finish, environment)
        except BaseException:
            if record.auto_remove:
                self._remove_quietly(record)
            raise

    def _remove_quietly(self, record: ContainerRecord) -> None:
        try:
            self._store.remove(record, force=True, volumes=True)
        except CaisError:
            pass  # another command removes it at the same time

    def _look(self, record: ContainerRecord, correct: bool = False) -> State:
        if record.state != "running":
            return State(record.state, record.exit_code, record.finished)
        return self._store.state(record)

    def _created(self, filters: Mapping[str, Sequence[str]], key: str) -> float | None:
        moments = [self._records.get(name).created for name in filters.get(key, ())]
        return None if not moments else (min(moments) if key == "before" else max(moments))

    def _ancestors(self, names: Sequence[str]) -> list[str]:  # type: ignore[valid-type]
        found = []
        for name in names:
            try:
                found.append(self._stores.images.resolve(name).id)
            except CaisError:
                continue
        return found

    def _sizes(self, record: ContainerRecord) -> tuple[int, int]:
        from cais.host.files import tree_size_bytes
        from cais.spec.digest import Digest

        own = tree_size_bytes(os.path.join(self._stores.snapshots.directory, record.snapshot, "fs"))
        chain = Digest(record.chain) if record.chain else None
        below = sum(tree_size_bytes(os.path.join(path, "fs")) for path in self._stores.snapshots.directories(chain))
        return own, own + below

    def _enter(self) -> None:
        from cais.host.namespaces import enter

        enter()

    @property
    def _records(self) -> ContainerRecords:
        return ContainerRecords(self._stores.database)

    @property
    def _runtime(self) -> Runtime:
        return self._store.rooms.runtime

    @property
    def _store(self) -> Store:
        if self._made is None:
            from cais.container.prepare import Rooms
            from cais.container.store import Containers as Store
            from cais.runtime.runner import Runtime
            from cais.volume.store import VolumeStore

            root = self._stores.root
            rooms = Rooms(
                self._stores.snapshots,
                VolumeStore(root, self._stores.database),
                Runtime(root, self._stores.settings.runtime),
                os.path.join(root, "containers"),
            )
            self._made = Store(self._stores.database, rooms)
        return self._made


def _streams(interactive: bool, streams: Streams | None) -> Streams:
    from cais.container.foreground import Streams

    found = Streams(0) if streams is None else streams
    return found if interactive else found._replace(stdin=-1)


def _has_relative_path(options: RunOptions) -> bool:
    return any(item.startswith(".") for item in options.volumes)


def _has_label(labels: Mapping[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)
