"""Carrying out one vertex: a writable file system on top of its input's, changed by the op, committed as a layer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence

from cais.build.context import Context, select_from
from cais.build.contexts import Contexts
from cais.build.graph import Copy, Exec, MakeDirectory, Vertex
from cais.build.hashing import digest_of
from cais.build.ops.target import LayerTarget, Target
from cais.build.plan import Result
from cais.build.records import Record
from cais.build.selection import Selection, newest_of
from cais.build.tree import shown
from cais.errors import CaisError, Cancelled, Failed, NotFound, from_os_error
from cais.host.mounts import realise, unmount
from cais.runtime.runner import Bundle, Runtime
from cais.runtime.steps import run_step, step_spec
from cais.snapshot.store import Layer, Prepared, SnapshotStore
from cais.spec.digest import Digest
from cais.spec.mount import Mount, plain_directory
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.ops.reuse import Reuse

OUTPUT_PIECE_BYTES = 64 << 10
LAST_OUTPUT_LINES = 20


class StepFailed(Failed):
    """A RUN step's process ended with a code other than 0. ``output`` is the last of what it said."""

    def __init__(self, vertex: Vertex, code: int, command: str, output: bytes) -> None:
        super().__init__(f'process "{command}" did not complete successfully: exit code: {code}')
        self.vertex = vertex
        self.code = code
        self.output = output


class OpExecutor:
    """Implements ``solve.Executor``.

    ``ensure`` unpacks a base image's layers before they are stood on; ``base_time`` is when it was made, in seconds.
    ``listing_of`` gives the kept listing of a selection by its digest.
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
        epoch: int | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._runtime = runtime
        self._contexts = contexts
        self._progress = progress
        self._ensure = ensure
        self._base_time = base_time
        self._listing_of = listing_of
        self._epoch = epoch
        self._cancelled = threading.Event()
        self._listings: dict[Vertex, tuple[Digest, bytes]] = {}
        self._unsettled: set[Vertex] = set()

    def cancel(self) -> None:
        self._cancelled.set()

    def execute(self, vertex: Vertex, inputs: Sequence[Result], id: int, previous: Record | None = None) -> Layer:
        """Raises StepFailed, Cancelled, and what the op itself raises; nothing of it stays then."""
        parent = inputs[0].chain if inputs else None
        if parent is not None:
            self._ensure(parent)
        prepared = self._snapshots.prepare(parent, volatile=True)
        try:
            op = vertex.op
            if isinstance(op, Exec):
                self._with_mounts(prepared.mounts, lambda bundle: self._run(vertex, op, bundle, id))
            elif prepared.changes:
                self._write_changes(vertex, inputs, prepared, id, previous)
            else:
                self._with_tree(
                    prepared.mounts, lambda path: self._write(vertex, inputs, lambda: Target(path), id, None)
                )
            if self._cancelled.is_set():
                raise Cancelled("stopped")
            return self._snapshots.commit(prepared, epoch=self._epoch)
        except OSError as error:
            self._drop(prepared)
            raise from_os_error(error, f"carry out {vertex.origin.text}")
        except BaseException:
            self._drop(prepared)
            raise

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

    def _run(self, vertex: Vertex, op: Exec, bundle: Bundle, id: int) -> None:
        env = [f"{name}={value}" for name, value in (*op.env, *op.hidden_env)]
        mounts = [self._script(bundle, name, text) for name, text in op.scripts]
        step = step_spec(
            self._runtime,
            op.args,
            env,
            cwd=op.cwd,
            user=op.user,
            network=op.network,
            rootfs=bundle.rootfs,
            directory=bundle.directory,
            mounts=mounts,
            id=bundle.id,
        )
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            output = _Output(id, self._progress, self._cancelled.set)
            try:
                code = run_step(
                    self._runtime, step, bundle, stdio=(null, output.out, output.error), cancelled=self._cancelled
                )
            except CaisError as error:
                # Not found, not executable: to a build that is a process that ended with this code.
                raise Failed(f'process "{_command(op)}" did not start: {error.message}', hint=error.hint)
            finally:
                output.close()
        finally:
            os.close(null)
        if output.failure is not None:
            raise output.failure
        if self._cancelled.is_set():
            raise Cancelled("stopped")
        if code != 0:
            raise StepFailed(vertex, code, _command(op), output.last())

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

        def carry_out(selection: Selection | None, reuse: Reuse | None = None) -> None:
            # What has no time of its own takes the newest of what it came with: the same on every day.
            newest = max(self._time(inputs), newest_of(selection) if selection is not None else 0)
            with target() as opened:
                report = copy(op, selection, opened, modified=newest * 1_000_000_000, reuse=reuse)
            self._note(id, report.notes)
            if report.changed:
                self._unsettled.add(vertex)
                first = shown(report.changed[0])
                more = f" and {len(report.changed) - 1} more" if len(report.changed) > 1 else ""
                self._note(id, [f"changed while it was copied, so the next build copies it again: {first}{more}"])

        if not op.sources:
            carry_out(None)
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
        same = all(_listed(previous.parts.get(name)) == _listed(getattr(op, name)) for name in _SHAPE)
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
        layer = inputs[0].layer
        return layer.newest if layer is not None else self._base_time(inputs[0].chain)

    def _note(self, id: int, notes: Sequence[str]) -> None:
        for note in notes:
            self._progress({"event": "output", "id": id, "stream": 2, "data": note.encode() + b"\n"})

    @staticmethod
    def _script(bundle: Bundle, name: str, text: str) -> Mapping[str, object]:
        from cais.runtime.spec import bind

        path = os.path.join(bundle.directory, f"script.{name}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        try:
            os.fchmod(descriptor, 0o755)
            os.write(descriptor, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(descriptor)
        return bind(path, f"/dev/pipes/{name}", ("ro",))

    def content(self, vertex: Vertex, source: Result) -> Digest:
        """What a Copy takes from a stage, by content; owners count."""
        if source.chain is None:
            return Digest.of(b"")
        op = vertex.op
        assert isinstance(op, Copy)
        return Digest(self._with_view(source.chain, lambda path: self._selected_from(op, path, digest_of)))

    def hold(self, chain: Digest) -> bool:
        return self._snapshots.hold(chain)

    def is_settled(self, vertex: Vertex) -> bool:
        return vertex not in self._unsettled

    def listing(self, vertex: Vertex) -> tuple[Digest, bytes] | None:
        return self._listings.get(vertex)

    def _with_view(self, chain: Digest, action: Callable[[str], Any]) -> Any:
        """``action`` on a read-only file system of ``chain``."""
        self._ensure(chain)
        return self._with_tree(self._snapshots.view(chain), action)


# What two copies must share for the files of one to be good for the other.
_SHAPE = ("sources", "destination", "chown", "chmod")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _command(op: Exec) -> str:
    return " ".join(op.args)


class _Output:
    """Two pipes that are read by a thread, so that what a process says is shown while it says it.

    ``failure`` is what showing it raised; ``stop`` is called then. The process is read on to its end: one that cannot
    write would never end.
    """

    def __init__(self, id: int, progress: Progress, stop: Callable[[], None]) -> None:
        self._id = id
        self._progress = progress
        self._stop = stop
        self._tail = b""
        self._closed = False
        self.failure: BaseException | None = None
        read_out, self.out = os.pipe()
        read_error, self.error = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(read_out, read_error), daemon=True)
        self._thread.start()

    def _read(self, out: int, error: int) -> None:
        import select

        streams = {out: 1, error: 2}
        poll = select.poll()
        for descriptor in streams:
            poll.register(descriptor, select.POLLIN)
        while streams:
            for descriptor, _ in poll.poll():
                data = os.read(descriptor, OUTPUT_PIECE_BYTES)
                if not data:
                    poll.unregister(descriptor)
                    os.close(descriptor)
                    del streams[descriptor]
                    continue
                self._tail = (self._tail + data)[-OUTPUT_PIECE_BYTES:]
                self._show({"event": "output", "id": self._id, "stream": streams[descriptor], "data": data})

    def _show(self, event: dict[str, Any]) -> None:
        if self.failure is None:
            try:
                self._progress(event)
            except BaseException as error:
                self.failure = error
                self._stop()

    def last(self) -> bytes:
        """The last lines, after ``close``."""
        return b"\n".join(self._tail.rstrip(b"\n").split(b"\n")[-LAST_OUTPUT_LINES:])

    def close(self) -> None:
        """Ends when the last process that holds the pipes has ended."""
        if not self._closed:
            self._closed = True
            os.close(self.out)
            os.close(self.error)
            self._thread.join()
