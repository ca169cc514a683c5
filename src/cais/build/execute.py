"""Carrying out one vertex: a writable file system on top of its input's, changed by the op, committed as a layer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from cais.build.context import Context, select_from
from cais.build.contexts import Contexts
from cais.build.graph import Copy, Exec, MakeDirectory, Vertex, stage_mounts
from cais.build.hashing import digest_of
from cais.build.ops.run import Networks, Opened, Runs, StepFailed
from cais.build.ops.step_settings import NO_LIMITS, StepSettings
from cais.build.ops.target import LayerTarget, Target
from cais.build.patterns import literal
from cais.build.plan import Content, Result
from cais.build.records import Record
from cais.build.selection import Selection, newest_of
from cais.build.standing import Standing
from cais.build.tree import shown
from cais.errors import CaisError, Cancelled, Failed, NotFound, from_os_error
from cais.host.mounts import realise, unmount
from cais.runtime.runner import Bundle, Runtime
from cais.snapshot.store import Layer, Prepared, SnapshotStore
from cais.spec.digest import Digest
from cais.spec.mount import Mount, plain_directory
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.credentials import Credentials
    from cais.build.ops.reuse import Reuse
    from cais.volume.store import VolumeStore


class FailedStep(NamedTuple):
    """A RUN that failed, and the file system as it left it."""

    error: StepFailed
    prepared: Prepared
    inputs: Sequence[Result]


class OpExecutor:
    """Implements ``solve.Executor``.

    ``keep_failed``: the file system of the first RUN that fails is kept, as ``failed``, until ``drop_failed``.
    ``ensure`` unpacks what is not unpacked yet (of a base image, of an imported cache) before it is stood on;
    ``can_ensure`` says whether it could; ``base_time`` is when a base image was made, in seconds. ``listing_of`` gives
    the kept listing of a selection by its digest. ``volumes`` and ``credentials`` are for the mounts of RUN, where
    there are any, ``networks`` for those RUNs that have their own.
    """

    def __init__(
        self,
        snapshots: SnapshotStore,
        runtime: Runtime,
        contexts: Contexts,
        progress: Progress,
        *,
        ensure: Callable[[Digest], None],
        listing_of: Callable[[str], bytes | None],
        base_time: Callable[[Digest], int],
        can_ensure: Callable[[Digest], bool] = lambda chain: False,
        epoch: int | None = None,
        settings: StepSettings = NO_LIMITS,
        keep_failed: bool = False,
        volumes: VolumeStore | None = None,
        credentials: Credentials | None = None,
        networks: Networks | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._runtime = runtime
        self._contexts = contexts
        self._progress = progress
        self._standing = Standing(snapshots, ensure)
        self._can_ensure = can_ensure
        self._base_time = base_time
        self._listing_of = listing_of
        self._epoch = epoch
        self._cancelled = threading.Event()
        # Steps that copy do not wait for anything but the machine.
        self._processors = threading.BoundedSemaphore(max(2, len(os.sched_getaffinity(0))))
        self._keep_failed = keep_failed
        self.failed: FailedStep | None = None
        sources = None
        if volumes is not None and credentials is not None:
            from cais.build.ops.mounts import Sources

            sources = Sources(snapshots, self._standing.ensure, volumes, credentials)
        self._runs = Runs(runtime, progress, self._cancelled, settings, sources, networks)
        self._listings: dict[Vertex, tuple[Digest, bytes]] = {}
        self._unsettled: set[Vertex] = set()

    def cancel(self) -> None:
        self._cancelled.set()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("stopped")

    def execute(self, vertex: Vertex, inputs: Sequence[Result], id: int, previous: Record | None = None) -> Layer:
        """Raises StepFailed, Cancelled, and what the op itself raises; nothing of it stays then."""
        for item in inputs:
            self._standing.know(item)
        parent = inputs[0].chain if inputs else None
        if parent is not None:
            self._standing.ensure(parent)
        prepared = self._snapshots.prepare(parent, volatile=True)
        try:
            op = vertex.op
            if isinstance(op, Exec):
                self._with_mounts(prepared.mounts, lambda bundle: self._runs.run(vertex, op, bundle, id, inputs))
            else:
                with self._processors:
                    self._write_files(vertex, inputs, prepared, id, previous)
            if self._cancelled.is_set():
                raise Cancelled("stopped")
            return self._snapshots.commit(prepared, epoch=self._epoch, check=self._check)
        except OSError as error:
            self._drop(prepared)
            raise from_os_error(error, f"carry out {vertex.origin.text}")
        except BaseException as error:
            # The first one is what the build fails with.
            if self._keep_failed and self.failed is None and isinstance(error, StepFailed):
                self.failed = FailedStep(error, prepared, inputs)
            else:
                self._drop(prepared)
            raise

    def open_failed(self, bundle: Bundle, args: Sequence[str], terminal: bool) -> Opened:
        """``args`` where the step that was kept failed; its file system is mounted in ``bundle``."""
        assert self.failed is not None
        op = self.failed.error.vertex.op
        assert isinstance(op, Exec)
        self._cancelled.clear()  # what was to be stopped has ended
        return self._runs.opened(op, bundle, self.failed.inputs, args, terminal)

    def drop_failed(self) -> None:
        """Nothing stays of what was kept."""
        if self.failed is not None:
            self._drop(self.failed.prepared)
            self.failed = None

    def _drop(self, prepared: Prepared) -> None:
        """While an error is on its way, which says more than what fails because of it; the collector finds the rest."""
        try:
            self._snapshots.discard(prepared)
        except (OSError, CaisError):
            pass

    def _with_mounts(self, mounts: Sequence[Mount], action: Callable[[Bundle], Any]) -> Any:
        bundle = self._runtime.bundle()
        try:
            realise(mounts, bundle.rootfs)
            try:
                return action(bundle)
            finally:
                unmount(bundle.rootfs)
        finally:
            self._runtime.remove(bundle)

    def _with_tree(self, mounts: Sequence[Mount], action: Callable[[str], Any]) -> Any:
        """``action`` on the file system's directory; one that is a directory already needs no mount."""
        directory = plain_directory(mounts)
        if directory:
            return action(directory)
        return self._with_mounts(mounts, lambda bundle: action(bundle.rootfs))

    def _write_files(
        self, vertex: Vertex, inputs: Sequence[Result], prepared: Prepared, id: int, previous: Record | None
    ) -> None:
        if prepared.changes:
            self._write_changes(vertex, inputs, prepared, id, previous)
        else:
            self._with_tree(prepared.mounts, lambda path: self._write(vertex, inputs, lambda: Target(path), id, None))

    def _write_changes(
        self, vertex: Vertex, inputs: Sequence[Result], prepared: Prepared, id: int, previous: Record | None
    ) -> None:
        """Straight to the layer's own directory: half the cost of a file, and unchanged files can be linked."""
        if prepared.parent is None:
            self._write(vertex, inputs, lambda: LayerTarget(prepared.changes, None, prepared.opaque), id, previous)
            return
        self._with_tree(
            self._snapshots.view(prepared.parent),
            lambda below: self._write(
                vertex, inputs, lambda: LayerTarget(prepared.changes, below, prepared.opaque), id, previous
            ),
        )

    def _write(
        self, vertex: Vertex, inputs: Sequence[Result], target: Callable[[], Target], id: int, previous: Record | None
    ) -> None:
        op = vertex.op
        if isinstance(op, Copy):
            self._copy(vertex, op, inputs, target, id, previous)
        elif isinstance(op, MakeDirectory):
            from cais.build.ops.directories import make_directory

            with target() as opened:
                self._note(id, make_directory(op, opened, modified=self._time(inputs) * 1_000_000_000))
        else:
            raise Failed(f"{vertex.origin.text} is not an operation on files")

    def _copy(
        self,
        vertex: Vertex,
        op: Copy,
        inputs: Sequence[Result],
        target: Callable[[], Target],
        id: int,
        previous: Record | None,
    ) -> None:
        from cais.build.ops.copy import copy

        def carry_out(selection: Selection | None, reuse: Reuse | None = None, part: Copy = op) -> None:
            # What has no time of its own takes the newest of what it came with: the same on every day.
            newest = max(self._time(inputs), newest_of(selection) if selection is not None else 0)
            with target() as opened:
                report = copy(part, selection, opened, modified=newest * 1_000_000_000, reuse=reuse, check=self._check)
            self._note(id, report.notes)
            if report.changed:
                self._unsettled.add(vertex)
                first = shown(report.changed[0])
                more = f" and {len(report.changed) - 1} more" if len(report.changed) > 1 else ""
                self._note(id, [f"changed while it was copied, so the next build copies it again: {first}{more}"])

        if not op.sources:
            carry_out(None)
        elif op.more:
            for number, part in enumerate((op, *op.more)):
                carry_out(self._contexts.of(vertex, number).select(part), part=part)
        elif op.from_context:
            context = self._contexts.of(vertex)
            reuse = self._reusable(op, context, previous)
            try:
                carry_out(context.select(op), reuse)
            finally:
                if reuse is not None:
                    reuse.close()
            if vertex not in self._unsettled:
                self._listings[vertex] = (context.digest(op), context.listing(op))
        elif inputs[1].chain is None:
            raise NotFound(f'"{op.sources[0]}": not found: the stage that it is copied from has no files')
        else:
            self._with_view(inputs[1].chain, lambda path: self._selected_from(op, path, carry_out))

    def _reusable(self, op: Copy, context: Context, previous: Record | None) -> Reuse | None:
        """The files of the last result of the same instruction, to be linked where they are still the same."""
        if previous is None or op.unpack or not self._snapshots.hold(previous.chain_id):
            return None
        same = all(_listed(previous.parts.get(name) or "") == _listed(getattr(op, name) or "") for name in _SHAPE)
        listing = self._listing_of(previous.parts.get("files") or "") if same else None
        directory = self._snapshots.changes_directory(previous.chain_id) if listing is not None else ""
        if listing is None or not directory:
            return None
        from cais.build.ops.reuse import Reuse

        return Reuse(directory, listing, epoch=self._epoch, cache=context.cache)

    @staticmethod
    def _selected_from(op: Copy, path: str, action: Callable[[Selection], Any]) -> Any:
        tree, selection = select_from(path, op)
        try:
            return action(selection)
        finally:
            tree.close()

    def _time(self, inputs: Sequence[Result]) -> int:
        """The time, in seconds, of what a step makes that has none of its own: that of the step before."""
        if self._epoch is not None:
            return self._epoch
        if not inputs or inputs[0].chain is None:
            return 0
        newest, result = 0, inputs[0]
        while result.below is not None and result.layer is not None:
            newest, result = max(newest, result.layer.newest), result.below
        if result.layer is not None:
            return max(newest, result.layer.newest)
        return max(newest, self._base_time(result.chain) if result.chain is not None else 0)

    def _note(self, id: int, notes: Sequence[str]) -> None:
        for note in notes:
            self._progress({"event": "output", "id": id, "stream": 2, "data": note.encode() + b"\n"})

    def content(self, vertex: Vertex, inputs: Sequence[Result]) -> Content:
        """What a Copy takes from a stage, or what mounts show of stages, by content; owners count."""
        op = vertex.op
        if isinstance(op, Copy):
            found = self._content(op, inputs[1])
            self._listings[vertex] = found
            return Digest(found[0])
        return {
            mount.target: self._content(Copy((literal(mount.source[1:]) or ".",), "/"), inputs[mount.input])[0]
            for mount in stage_mounts(vertex)
        }

    def _content(self, op: Copy, source: Result) -> tuple[Digest, bytes]:
        if source.chain is None:
            return Digest.of(b""), b""
        self._standing.know(source)

        def identify(selection: Selection) -> tuple[Digest, bytes]:
            from cais.build.listing import listing_of

            return Digest(digest_of(selection)), listing_of(selection)

        found: tuple[Digest, bytes] = self._with_view(
            source.chain, lambda path: self._selected_from(op, path, identify)
        )
        return found

    def hold(self, chain: Digest) -> bool:
        return self._snapshots.hold(chain) or self._can_ensure(chain)

    def is_settled(self, vertex: Vertex) -> bool:
        return vertex not in self._unsettled

    def listing(self, vertex: Vertex) -> tuple[Digest, bytes] | None:
        return self._listings.get(vertex)

    def _with_view(self, chain: Digest, action: Callable[[str], Any]) -> Any:
        """``action`` on a read-only file system of ``chain``."""
        self._standing.ensure(chain)
        return self._with_tree(self._snapshots.view(chain), action)


# What two copies must share for the files of one to be good for the other.
_SHAPE = ("sources", "destination", "chown", "chmod", "parents")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
