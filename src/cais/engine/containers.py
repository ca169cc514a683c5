"""Containers: create, start, run, list, inspect, logs, stop, remove, commit, prune."""

from __future__ import annotations

import os
import time

from cais.container.options import AttachOptions, ExecOptions, RunOptions
from cais.container.records import ContainerRecord
from cais.engine.container_life import ContainerLife, RunResult
from cais.errors import CaisError, Conflict, Invalid, NotFound
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from cais.container.edit import Edits
    from cais.container.logs import LogLine
    from cais.container.published import Published
    from cais.container.state import State
    from cais.container.views import ContainerSummary
    from cais.engine.container_files import ContainerFiles
    from cais.engine.container_logs import ContainerLog
    from cais.engine.container_stats import ContainerStats
    from cais.engine.container_top import Table
    from cais.engine.container_update import UpdateOptions
    from cais.network.records import PublishedPort
    from cais.ports import Progress
    from cais.runtime.runner import Streams

    Rows = list[ContainerSummary]
    Stats = list[ContainerStats]
    Findings = list[tuple[str, str, str]]

__all__ = ["AttachOptions", "Container", "Containers", "ExecOptions", "PruneReport", "RunOptions", "RunResult"]


class Container(NamedTuple):
    id: str
    name: str


class PruneReport(NamedTuple):
    """``removed``: ids."""

    removed: list[str]
    reclaimed_bytes: int


class Containers(ContainerLife):
    """The containers of one root directory."""

    def create(self, options: RunOptions, progress: Progress | None = None) -> Container:
        """A container that does not run yet; ``progress`` is of pulling its image (``RunOptions.pull``).

        Raises NotFound (image), Invalid, Conflict (name), Unsupported.
        """
        self._runs.enter()
        record = self._runs.create(options, progress)
        return Container(record.id, record.name)

    def rename(self, id: str, name: str) -> None:
        """Raises NotFound, Invalid, Conflict."""
        from cais.container.names import check_name
        from cais.network.records import NetworkRecords

        if not id or not name:
            raise Invalid("Neither old nor new names may be empty")
        record = self._records.get(id)
        if name.removeprefix("/") == record.name:
            raise Invalid("Renaming a container with the same name as its current name")
        try:
            renamed = record._replace(name=check_name(name))
            self._records.rename(record, renamed.name)
        except (Invalid, Conflict) as error:
            raise type(error)(f"Error when allocating new name: {error.message}", hint=error.hint)
        if NetworkRecords(self._stores.database).endpoints(container=record.id):
            self._runs.reach_processes(record)
            connections = self._runs.store.rooms.connections
            connections.where_bridges_are(lambda: connections.networks.rename(record.id, renamed.name))
        self._runs.store.happenings.container("rename", renamed, oldName=f"/{record.name}")

    def update(self, id: str, options: UpdateOptions) -> tuple[str, ...]:
        """Other limits, at once; another restart policy, from its next end on. Lines for the user about what this host
        cannot limit. Raises NotFound, Invalid, Conflict, Failed."""
        from cais.engine.container_update import update

        return update(self._runs, id, options)

    def edit(self, id: str, edits: Edits, warn: Callable[[str], None] = print) -> None:
        """Changes ports, mounts, variables and more of a container, and starts it again where it runs.

        Raises as ``cais.engine.container_edit.edit``.
        """
        from cais.engine.container_edit import edit

        edit(self._stores, self._runs, id, edits, warn)

    def debug(
        self,
        id: str,
        args: Sequence[str] = (),
        *,
        image: str = "busybox",
        terminal: bool = False,
        streams: Streams | None = None,
    ) -> int:
        """Runs a shell, or ``args``, with the tools of ``image`` beside the container's processes; the exit code.

        Raises as ``cais.engine.container_debug.run``.
        """
        from cais.engine.container_debug import run

        return run(self._stores, self._runs, id, args, image=image, terminal=terminal, streams=streams)

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
        everything = all or limit > 0 or "status" in filters
        records = self._records.all() if everything else self._records.running()
        rows = []
        before, since = (self._created(filters, key) for key in ("before", "since"))
        ancestors: Sequence[str] = ()
        if "ancestor" in filters:
            from cais.engine.container_images import of_ancestors

            ancestors = of_ancestors(self._stores, filters["ancestor"], {record.image_id for record in records})
        if "network" in filters:
            filters["network"] = self._network_names(filters["network"])
        ports = self._published() if records else {}
        for record in records:
            state = self._look(record)
            if not everything and not state.is_up:
                continue
            row = views.summary(
                record, state, now, self._health(record) if state.lives else "", ports.get(record.id, ())
            )
            if not filters or views.passes(row, filters, before, since, ancestors):
                rows.append(row)
        if not rows:
            return rows
        from cais.engine.container_images import named_as_now

        return named_as_now(self._stores, rows[:limit] if limit > 0 else rows)

    def linked_names(self) -> dict[str, tuple[str, ...]]:
        """By name: what other containers call it that are linked to it, ``other/alias``."""
        from cais.container.network_view import linked_names

        return linked_names(self._records.all())

    def inspect(self, id: str, size: bool = False) -> dict[str, Any]:
        """Docker's JSON. ``size`` adds SizeRw and SizeRootFs, in bytes. Raises NotFound, Invalid."""
        from cais.engine.container_inspect import inspect

        record = self._records.get(id)
        return inspect(self._stores, self._runs, record, self._look(record), size=size)

    def command_line(self, id: str) -> tuple[str, ...]:
        """The words behind ``cais run`` that make the same container. Raises NotFound, Invalid."""
        from cais.engine.container_inspect import command_line

        record = self._records.get(id)
        return tuple(command_line(self._stores, self._runs, record, self._look(record)))

    def logs(
        self,
        id: str,
        follow: bool = False,
        tail: int | None = None,
        since_nanoseconds: int | None = None,
        until_nanoseconds: int | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, line by line; ``follow`` goes on to its end. Times are in nanoseconds since 1970.

        Raises NotFound, and Unsupported for one that keeps no log.
        """
        return self._logs(id, follow).lines(tail, since_nanoseconds, until_nanoseconds)

    def write_log(
        self, id: str, follow: bool = False, tail: int | None = None, *, stdout: int = 1, stderr: int = 2
    ) -> None:
        """Writes what it wrote to the descriptors ``stdout`` and ``stderr``: a large log faster than by ``logs``.

        Raises as ``logs``; OSError where it cannot be written.
        """
        self._logs(id, follow).write(tail, {"stdout": stdout, "stderr": stderr})

    def log_details(self, id: str) -> dict[str, str]:
        """The labels and variables that its log options name. Raises NotFound."""
        return self._logs(id, False).details()

    def stats(self, names: Sequence[str] = (), all: bool = False, seconds: float = 1.0) -> Iterator[Stats]:
        """What they use, again every ``seconds``; without names those that run, or ``all``. Raises NotFound."""
        from cais.engine.container_stats import stats

        return stats(self._runs, self._records, names, all, seconds)

    def top(self, id: str, options: Sequence[str] = ()) -> Table:
        """(titles, rows) of its processes; ``options`` are those of ps. Raises NotFound, Conflict, Invalid, Failed."""
        from cais.engine.container_top import top

        return top(self._runs, self._records.get(id), options)

    def _logs(self, id: str, follow: bool) -> ContainerLog:
        from cais.engine.container_logs import ContainerLog

        return ContainerLog(self._records.get(id), self._records, self._runs, self._stores.root, follow)

    def remove(self, id: str, force: bool = False, volumes: bool = False) -> str:
        """Its id. ``volumes``: with its anonymous volumes. Raises NotFound, Conflict (it runs)."""
        self._runs.reach()
        record = self._records.get(id)
        self._runs.store.remove(record, force=force, volumes=volumes)
        return record.id

    def remove_link(self, name: str) -> None:
        """``/container/alias``: from its next start on the container does not know the other by that alias.

        Raises NotFound; Conflict for a name alone, which is the container's own.
        """
        parent, slash, alias = name.strip("/").partition("/")
        if not slash:
            self._records.get(parent)
            raise Conflict("Conflict, cannot remove the default link name of the container")

        def without(plan: dict[str, Any]) -> dict[str, Any]:
            found = False
            for network in plan.get("networking", {}).get("networks", ()):
                kept = [text for text in network.get("links", ()) if text.rpartition(":")[2] != alias]
                found = found or len(kept) < len(network.get("links", ()))
                network["links"] = kept
            if not found:
                raise NotFound(f"No such container: {parent}/{alias}")
            return plan

        self._records.change_plan(self._records.get(parent).id, without)

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> PruneReport:
        """Removes what does not run. Filters: ``until`` (a time or a duration), ``label``, ``label!``."""
        from cais.container import views
        from cais.host.files import tree_size_bytes
        from cais.image.filters import moment

        filters = dict(filters or {})
        views.check_filters(filters, frozenset(("until", "label", "label!")))
        limit = min((moment(text, time.time()) for text in filters.get("until", ())), default=None)
        self._runs.reach()
        removed, size = [], 0
        for record in self._records.all():
            state = self._runs.store.state(record)
            labels = record.plan.get("labels", {})
            if state.is_up or (limit is not None and record.created >= limit):
                continue
            if not all(_has_label(labels, text) for text in filters.get("label", ())):
                continue
            if any(_has_label(labels, text) for text in filters.get("label!", ())):
                continue
            size += tree_size_bytes(os.path.join(self._stores.snapshots.directory, record.snapshot))
            try:
                self._runs.store.remove(record)
            except (NotFound, Conflict):
                continue
            removed.append(record.id)
        self._stores.events.write("container", "prune", "", {"reclaimed": str(size)})
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
        self._runs.enter()
        running = self._runs.store.state(record).status == "running"  # one that stands still already, stays so
        image = commit(
            self._stores, self._runs.store.rooms, record, reference=reference, author=author, message=message,
            changes=changes, pause=pause and running,
        )  # fmt: skip
        named = ""
        if reference:
            from cais.engine.image_events import tell
            from cais.spec.reference import Reference

            named = Reference.parse(reference).familiar
            tell(self._stores, "tag", image, named)
        self._runs.store.happenings.container("commit", record, comment=message, imageID=image, imageRef=named)
        return image

    @property
    def files(self) -> ContainerFiles:
        """The files of containers: copy, diff, export."""
        from cais.engine.container_files import ContainerFiles

        return ContainerFiles(self._stores, self._runs)

    def finish(self, id: str) -> Sequence[str]:
        """After the end of a detached container: its record says so, and ``--rm`` is done. conmon calls it.

        What this process has to execute next, where the container is to be started again; else nothing.
        """
        return self._runs.finish(id)

    def restart_waited(self, id: str) -> None:
        """Starts a container whose policy wants it so, after the wait. Raises as ``start``."""
        self._runs.restart_waited(id)

    def check(self, repair: bool = False) -> Findings:
        """What is wrong with containers: (subject, problem, what was done)."""
        from cais.engine.container_leftovers import check

        return check(self._stores, self._runs, repair)

    def _look(self, record: ContainerRecord) -> State:
        from cais.container.state import State, look

        if record.state not in ("running", "restarting"):
            return State(record.state, record.exit_code, record.finished, oom_killed=record.oom_killed)
        found = look(record, self._runs.runtime, self._runs.directory)
        # The store is loaded only where the record has to be corrected.
        return found if found.is_up else self._runs.store.state(record)

    def _health(self, record: ContainerRecord) -> str:
        """What its checks have found, "" where it has none."""
        if '"health":' not in record.plan_json:
            return ""
        from cais.container import watch

        found = watch.read(os.path.join(self._stores.root, "containers", record.id))
        return "" if found is None else found.status

    def _published(self) -> dict[str, Sequence[PublishedPort]]:
        """The published ports, by container."""
        from cais.network.records import NetworkRecords

        found: dict[str, Any] = {}
        for port in NetworkRecords(self._stores.database).ports():
            found.setdefault(port.container, []).append(port)
        return found

    def _network_names(self, texts: Sequence[str]) -> Sequence[str]:
        """Networks may be given by their ids."""
        from cais.network.records import NetworkRecords

        records, found = NetworkRecords(self._stores.database), []
        for text in texts:
            try:
                found.append(records.get(text).name)
            except CaisError:
                found.append(text)
        return found

    def ports(self, id: str) -> Sequence[Published]:
        """The published ports of a running container. Raises NotFound."""
        from cais.container.published import Published

        record = self._records.get(id)
        if not self._look(record).lives:
            return ()
        return [
            Published(port.target_port, port.protocol, port.host_ip, port.host_port)
            for port in self._published().get(record.id, ())
        ]

    def _created(self, filters: Mapping[str, Sequence[str]], key: str) -> float | None:
        moments = [self._records.get(name).created for name in filters.get(key, ())]
        return None if not moments else (min(moments) if key == "before" else max(moments))


def _has_label(labels: Mapping[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)
