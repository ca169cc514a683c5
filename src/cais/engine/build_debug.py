"""Debugging a build: a shell, or one command, in the file system of a step, with the step's environment and user.

Of a build that has just failed it is what the failed step left, with all that stood beside it; of a kept build it is
what a step gave, or began with, from the build's record, with the mounts of a RUN but for secrets and agents, which
are not kept. What is changed in it is thrown away; what is changed in a cache mount stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from cais.build.graph import Exec, ExecMount
from cais.engine.build_record import read
from cais.engine.stores import Stores
from cais.errors import CaisError, Invalid, NotFound
from cais.host.mounts import realise, unmount
from cais.runtime.runner import Bundle, Runtime, Streams
from cais.spec.mount import Mount
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.execute import FailedStep
    from cais.build.ops.run import Opened
    from cais.snapshot.store import SnapshotStore

    Open = Callable[[Bundle, Sequence[str], bool], Opened]

DEFAULT_SHELL = "/bin/sh"


class Place:
    """Where something can be run: ``title`` names the step. ``is_before``: as it was before the step."""

    def __init__(
        self,
        runtime: Runtime,
        title: str,
        shell: str,
        mounts: Callable[[], Sequence[Mount]],
        open: Open,
        error: CaisError | None = None,
        is_before: bool = False,
    ) -> None:
        self.title = title
        self.shell = shell
        self.error = error
        self.is_before = is_before
        self._runtime = runtime
        self._mounts = mounts
        self._open = open

    @classmethod
    def of_failed(
        cls, failed: FailedStep, open: Open, runtime: Runtime, snapshots: SnapshotStore, error: CaisError
    ) -> Place:
        """As the step left it."""
        vertex, prepared = failed.error.vertex, failed.prepared
        args = vertex.op.args if isinstance(vertex.op, Exec) else ()

        def mounts() -> Sequence[Mount]:
            return snapshots.reopen(prepared.id, prepared.parent, volatile=True).mounts

        return cls(runtime, vertex.origin.title, shell_of(args), mounts, open, error)

    def run(self, args: Sequence[str] = (), *, terminal: bool = False, stdin: int = 0) -> int:
        """Runs ``args`` (default: the shell) to the end, on this process's streams (``stdin`` -1: none); its exit code.

        Raises as ``container run`` does.
        """
        from cais.container import foreground
        from cais.container.attach import Signals
        from cais.container.prepare import Ready
        from cais.runtime import mount_points, steps

        bundle = self._runtime.bundle()
        try:
            realise(self._mounts(), bundle.rootfs)
            try:
                opened = self._open(bundle, args or (self.shell,), terminal)
                try:
                    made = mount_points.prepare(bundle.rootfs, steps.points(opened.spec))
                    ready = Ready(opened.bundle, opened.spec, made, ())
                    try:
                        with Signals() as signals:
                            start = foreground.run_on_terminal if terminal else foreground.run
                            return start(self._runtime, ready, Streams(stdin), signals)
                    finally:
                        mount_points.remove(bundle.rootfs, made)
                finally:
                    opened.close()
            finally:
                unmount(bundle.rootfs)
        finally:
            self._runtime.remove(bundle)


def shell_of(args: Sequence[str]) -> str:
    """The shell that a RUN's command was given to, by its form; else the default one."""
    return args[0] if len(args) > 2 and args[-2] in ("-c", "-ec", "-lc", "-xc") else DEFAULT_SHELL


class Wanted(NamedTuple):
    """``step``: ``5`` or ``#5`` (in the progress), ``stage/2``, ``:12`` (a line), or "" for the one that failed."""

    step: str
    build: str = ""
    before: bool = False


def debug(
    stores: Stores,
    wanted: Wanted,
    action: Callable[[Place], int],
) -> int:
    """``action`` in the place that is wanted; what it returns. Raises NotFound, Invalid."""
    from cais.build.ops.run import Runs
    from cais.build.ops.step_settings import NO_LIMITS
    from cais.host.namespaces import enter
    from cais.spec.digest import Digest

    steps = _steps(stores, wanted.build)
    step = find(steps, wanted.step)
    before = wanted.before or step["state"] not in ("hit", "miss")
    chain = _chain_before(steps, step) if before else step["chain_id"]
    enter()
    stores.snapshots.reach()
    if chain and not stores.snapshots.hold(Digest(chain)):
        raise NotFound(
            f"the file system {'before' if before else 'of'} {step['title']} is not here any more",
            hint="It was pruned, or its base image was never unpacked: build again.",
        )
    import threading

    from cais.build.credentials import Credentials
    from cais.build.lowering.process import RunSettings
    from cais.build.ops.mounts import Sources
    from cais.build.plan import Result
    from cais.engine.build_network import StepNetworks
    from cais.spec.progress import silent
    from cais.volume.store import VolumeStore

    op = _exec(steps, step)
    chains = {item["id"]: item["chain_id"] for item in steps}
    inputs = [Result(Digest(chains[id]) if chains.get(id) else None) for id in step.get("inputs") or ()]

    def held(chain: Digest) -> None:
        if not stores.snapshots.hold(chain):
            raise NotFound(f"what {step['title']} mounts is not here any more", hint="It was pruned: build again.")

    runtime = Runtime(stores.root, stores.settings.runtime)
    sources = Sources(stores.snapshots, held, VolumeStore(stores.root, stores.database), Credentials({}, {}))
    allowed = NO_LIMITS._replace(allowed=("device",))
    networks = StepNetworks(stores, runtime, silent, names_host=RunSettings(hosts=op.hosts).names_host)
    runs = Runs(runtime, silent, threading.Event(), allowed, sources, networks)
    prepared = stores.snapshots.prepare(Digest(chain) if chain else None, volatile=True)
    try:
        place = Place(
            runtime,
            step["title"],
            shell_of(op.args),
            lambda: stores.snapshots.reopen(prepared.id, prepared.parent, volatile=True).mounts,
            lambda bundle, args, terminal: runs.opened(op, bundle, inputs, args, terminal),
            is_before=before,
        )
        return action(place)
    finally:
        stores.snapshots.discard(prepared)
        networks.close()
        runtime.close()


def _steps(stores: Stores, build: str) -> list[dict[str, Any]]:
    """The steps of a kept build, which is named as in ``build_history.find``. Raises NotFound, Invalid."""
    from cais.engine import build_history

    id = build_history.find(stores, build).id
    record = read(os.path.join(stores.root, "builds", id))
    if record is None:
        raise NotFound(f"nothing is known of the steps of the build {id}", hint="It runs, or it was killed.")
    return [step for step in record.get("steps", ()) if step.get("stage") != "internal"]


def find(steps: Sequence[Mapping[str, Any]], text: str) -> dict[str, Any]:
    """The step that ``text`` (see ``Wanted``) means. Raises Invalid, NotFound."""
    stage, slash, number = text.rpartition("/")
    if text.startswith(":") and text[1:].isdigit():
        line = int(text[1:])
        found = [step for step in steps if step["lines"][0] <= line <= step["lines"][1] and step["number"]]
    elif not text:
        found = [step for step in steps if step.get("state") == "failed"]
    elif slash and number.isdigit():
        found = [step for step in steps if step["stage"] == stage and step["number"] == int(number)]
    elif text.removeprefix("#").isdigit():
        found = [step for step in steps if step["id"] == int(text.removeprefix("#"))]
    else:
        raise Invalid(
            f"invalid step {text!r}",
            hint="A step is its number in the progress (5), STAGE/NUMBER (builder/3), or a line of the file (:12).",
        )
    if not steps:
        raise NotFound("the build has no steps: it ended before the first", hint="See: cais builder history inspect")
    if len(found) != 1:
        if not text and not found:
            raise Invalid("no step of the build failed", hint=f"Name one: {steps[-1]['id']} is the last.")
        known = "\n".join(f"  #{step['id']} {step['title']}" for step in found or steps)
        what = "no step" if not found else "more than one step"
        raise (NotFound if not found else Invalid)(f"{what} of the build is {text!r}", hint=f"There are:\n{known}")
    return dict(found[0])


def _parent(steps: Sequence[Mapping[str, Any]], step: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inputs = step.get("inputs") or ()
    return next((item for item in steps if inputs and item["id"] == inputs[0]), None)


def _chain_before(steps: Sequence[Mapping[str, Any]], step: Mapping[str, Any]) -> str:
    parent = _parent(steps, step)
    if parent is None:
        return ""
    if parent["state"] not in ("hit", "miss"):
        raise NotFound(f"{step['title']} was never begun: {parent['title']} came to no end before it")
    return str(parent["chain_id"])


def _exec(steps: Sequence[Mapping[str, Any]], step: Mapping[str, Any]) -> Exec:
    """What a RUN was given; of another step what the last RUN before it was, or the first one after it."""
    looked_at: Mapping[str, Any] | None = step
    while looked_at is not None and not looked_at.get("run"):
        looked_at = _parent(steps, looked_at)
    if looked_at is None:
        after = (item for item in steps if item.get("run") and item["stage"] == step["stage"])
        looked_at = next(after, None)
    run = looked_at["run"] if looked_at is not None else {}
    # Of the step itself only: no secret and no agent is kept, so that none can be required.
    mounts = [ExecMount(**mount)._replace(required=False) for mount in run.get("mounts", ()) if looked_at is step]
    return Exec(
        tuple(run.get("args", ())),
        tuple((str(name), str(value)) for name, value in run.get("env", {}).items()),
        run.get("cwd", "/"),
        run.get("user", ""),
        run.get("network", "default"),
        mounts=tuple(mounts),
        scripts=tuple((name, text) for name, text in run.get("scripts", ())),
        security=run.get("security", ""),
        hosts=tuple((name, address) for name, address in run.get("hosts", ())),
        devices=tuple(run.get("devices", ())),
        hostname=run.get("hostname", ""),
    )
