"""``container debug``: a shell with its own tools in a container that may have none."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack

from cais.container import debug, foreground
from cais.container.attach import Signals
from cais.container.prepare import Ready
from cais.container.records import ContainerRecord
from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.errors import Conflict, Invalid, NotFound
from cais.host.foreign_mounts import bind_from
from cais.host.mounts import realise, unmount
from cais.image.layers import ensure_unpacked
from cais.runtime import mount_points, steps
from cais.runtime.bundles import read_configuration
from cais.runtime.runner import Bundle, Streams
from cais.spec.digest import Digest

IMAGE = "busybox"
SHELL = ("sh",)
_PATIENCE_SECONDS = 5


def run(
    stores: Stores,
    runs: ContainerRuns,
    name: str,
    args: Sequence[str] = (),
    *,
    image: str = IMAGE,
    terminal: bool = False,
    streams: Streams | None = None,
) -> int:
    """Runs ``args`` (default: a shell) beside the container's processes, to the end; the exit code.

    Raises NotFound (container, image), Conflict (paused, or another command works on it), and as ``container run``.
    """
    record = runs.records.get(name)
    runs.enter_beside(record)
    chain = _tools(stores, image)
    state = runs.store.state(record)
    if state.status == "paused":
        raise Conflict(f"the container {name} is paused", hint=f"Unpause it first: cais unpause {name}")
    if state.process is not None:
        return _run(stores, runs, record, chain, args or SHELL, state.process.pid, terminal, streams or Streams(0))
    with ExitStack() as stack:
        # Nobody starts it meanwhile: its file system would be mounted twice. Who notes its end is soon done.
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                record = stack.enter_context(runs.store.locked(record, wait=False))
                break
            except Conflict:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        if runs.store.state(record).is_up:
            raise Conflict(f"the container {name} is just being started", hint="Try again.")
        return _run(stores, runs, record, chain, args or SHELL, 0, terminal, streams or Streams(0))


def _tools(stores: Stores, name: str) -> Digest | None:
    """The unpacked layers of the image that has the tools."""
    try:
        image = stores.images.get(name, None)
    except NotFound as error:
        raise NotFound(
            f"the image {name!r}, whose tools are to be used, is not here",
            hint=error.hint or "Build or load it first, or name another one with --image.",
            exit_code=125,
        )
    return ensure_unpacked(stores.content, stores.snapshots, image.config, image.manifest)


def _run(
    stores: Stores,
    runs: ContainerRuns,
    record: ContainerRecord,
    chain: Digest | None,
    args: Sequence[str],
    pid: int,
    terminal: bool,
    streams: Streams,
) -> int:
    runtime = runs.runtime
    given = read_configuration(runtime.opened(record.id).directory) if pid else None
    if pid and given is None:
        raise Conflict(f"container {record.id} is not running")
    prepared = stores.snapshots.prepare(chain, volatile=True)
    bundle = runtime.bundle()
    try:
        realise(prepared.mounts, bundle.rootfs)
        _mount_target(stores, record, bundle, pid)
        document = debug.build_spec(runtime.host, args, given, pid, id=bundle.id, terminal=terminal)
        made = mount_points.prepare(bundle.rootfs, steps.points(document))
        start = foreground.run_on_terminal if terminal else foreground.run
        with Signals() as signals:
            return start(runtime, Ready(bundle, document, made, ()), streams, signals)
    finally:
        unmount(bundle.rootfs)
        runtime.remove(bundle)
        stores.snapshots.discard(prepared)
        runtime.close()


def _mount_target(stores: Stores, record: ContainerRecord, bundle: Bundle, pid: int) -> None:
    mount_points.make_directory(bundle.rootfs, debug.TARGET)
    place = bundle.rootfs + debug.TARGET
    if os.path.islink(place):
        raise Invalid(f"the image has a link at {debug.TARGET}, where the container's file system is to be")
    if pid:
        bind_from(pid, "/", place, recursive=True)
        return
    parent = Digest(record.chain) if record.chain else None
    realise(stores.snapshots.reopen(record.snapshot, parent).mounts, place)
