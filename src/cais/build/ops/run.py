"""Carrying out RUN: the process of a step in the file system of its vertex, and what stands beside it while it runs."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence

from cais.build.graph import Exec, Vertex
from cais.build.ops.output import Output
from cais.build.ops.step_settings import NO_LIMITS, Granted, StepSettings, devices, grant
from cais.errors import CaisError, Cancelled, Failed
from cais.host.files import write_all
from cais.runtime.runner import Bundle, Runtime
from cais.runtime.steps import HOST_NETWORK, StepNetwork, run_step, step_spec
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from cais.build.ops.mounts import Sources, StepMounts
    from cais.build.plan import Result
else:
    Protocol = object  # at run time a protocol is nothing but a class


class Networks(Protocol):
    """Networks of their own for steps with the network ``default``; one step is in each (``engine.build_network``)."""

    def lend(self) -> StepNetwork:
        """Raises what the host lacks where that is new; the host's own where it always lacked it."""

    def take_back(self, network: StepNetwork, *, changed: bool) -> None:
        """Nothing runs in it any more. ``changed``: what ran might have changed the network itself."""


class StepFailed(Failed):
    """A RUN step's process ended with a code other than 0. ``output`` is the last of what it said."""

    def __init__(self, vertex: Vertex, code: int, command: str, output: bytes) -> None:
        shown = json.dumps(command, ensure_ascii=False)
        super().__init__(f"process {shown} did not complete successfully: exit code: {code}")
        self.vertex = vertex
        self.code = code
        self.output = output


class Opened(NamedTuple):
    """A spec that can be run in ``bundle``; ``close`` it afterwards."""

    bundle: Bundle
    spec: dict[str, Any]
    mounted: StepMounts | None
    give_back: Callable[[], None]

    def close(self) -> None:
        try:
            self.give_back()
        finally:
            if self.mounted is not None:
                self.mounted.close()


class Runs:
    """``cancelled`` ends what runs; it is set here when the output of a step can no more be shown. ``sources`` is where
    its mounts come from, ``networks`` where its network; without them it is the host's.
    """

    def __init__(
        self,
        runtime: Runtime,
        progress: Progress,
        cancelled: threading.Event,
        settings: StepSettings = NO_LIMITS,
        sources: Sources | None = None,
        networks: Networks | None = None,
    ) -> None:
        self._runtime = runtime
        self._progress = progress
        self._cancelled = cancelled
        self._settings = settings
        self._sources = sources
        self._networks = networks
        self._lock = threading.Lock()
        self._grant: Granted | None = None

    def run(self, vertex: Vertex, op: Exec, bundle: Bundle, id: int, inputs: Sequence[Result] = ()) -> None:
        """``bundle`` has the vertex's file system mounted; ``inputs`` are the vertex's results.

        Raises StepFailed, Cancelled, Failed (it did not start), what its mounts raise.
        """
        opened = self.opened(op, bundle, inputs, id=id)
        try:
            self._run(vertex, op, opened, id)
        finally:
            opened.close()

    def opened(
        self,
        op: Exec,
        bundle: Bundle,
        inputs: Sequence[Result],
        args: Sequence[str] = (),
        terminal: bool = False,
        id: int = 0,
    ) -> Opened:
        """``op``, or ``args`` where ``op`` would run, with its mounts, for somebody to run it. Raises as ``run``."""
        mounted = self.mounted(op, bundle, inputs, id)
        give_back = _nothing
        try:
            inside = _inside(op, bundle, mounted)
            network = HOST_NETWORK
            if op.network == "default" and self._networks is not None:
                networks, network = self._networks, self._networks.lend()
                give_back = lambda: networks.take_back(network, changed=op.security == "insecure")  # noqa: E731
            document = self.spec(op, inside, mounted, network, args=args, terminal=terminal)
        except BaseException:
            Opened(bundle, {}, mounted, give_back).close()
            raise
        return Opened(inside, document, mounted, give_back)

    def mounted(self, op: Exec, bundle: Bundle, inputs: Sequence[Result], id: int) -> StepMounts | None:
        """What ``op`` asks for with --mount, to be closed; None where it asks for nothing."""
        if not op.mounts or self._sources is None:
            return None
        from cais.build.ops.mounts import StepMounts

        def wait(text: str) -> None:
            self._progress({"event": "output", "id": id, "stream": 2, "data": text.encode() + b"\n"})

        return StepMounts(op, bundle, inputs, self._sources, self._cancelled, wait)

    def _run(self, vertex: Vertex, op: Exec, opened: Opened, id: int) -> None:
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            secrets = opened.mounted.secrets if opened.mounted is not None else ()
            output = Output(id, self._progress, self._cancelled.set, secrets)
            try:
                stdio = (null, output.out, output.error)
                code = run_step(self._runtime, opened.spec, opened.bundle, stdio=stdio, cancelled=self._cancelled)
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
            raise self._failed(vertex, op, code, output.last())

    def spec(
        self,
        op: Exec,
        bundle: Bundle,
        mounted: StepMounts | None,
        network: StepNetwork,
        *,
        args: Sequence[str],
        terminal: bool,
    ) -> dict[str, Any]:
        """The OCI spec of ``op``, or of ``args`` where ``op`` would run. Raises NotFound (the user), Denied, ..."""
        granted = self._granted()
        settings = self._settings
        env = [f"{name}={value}" for name, value in (*op.env, *op.hidden_env)]
        wanted = devices(op.devices, settings.allowed) if op.devices else None
        if wanted is not None:
            self._warn(wanted.notes)
        mounts = [_script(bundle, name, text) for name, text in op.scripts]
        if op.platform:
            mounts += _interpreter(op.platform)
        if mounted is not None:
            env += mounted.environment
            mounts += mounted.mounts
        return step_spec(
            self._runtime,
            args or op.args,
            [*env, *wanted.env] if wanted is not None else env,
            cwd=op.cwd,
            user=op.user,
            network=op.network,
            own_network=network,
            rootfs=bundle.rootfs,
            directory=bundle.directory,
            mounts=[*mounts, *wanted.mounts] if wanted is not None else mounts,
            hosts=op.hosts,
            hostname=op.hostname,
            shm_bytes=settings.shm_bytes,
            rlimits=granted.rlimits,
            resources=granted.limits.resources,
            cgroup_parent=settings.cgroup_parent,
            insecure=op.security == "insecure",
            devices=wanted.devices if wanted is not None else (),
            terminal=terminal,
            id=bundle.id,
        )

    def _granted(self) -> Granted:
        """What the host gives is found out once, and what it does not is said once."""
        host = self._runtime.host
        with self._lock:
            first = self._grant is None
            if self._grant is None:
                self._grant = grant(self._settings, host)
            granted = self._grant
        if first:
            self._warn(granted.warnings)
        return granted

    def _warn(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._progress({"event": "warning", "message": line.removeprefix("WARNING: "), "line": 0})

    def _failed(self, vertex: Vertex, op: Exec, code: int, output: bytes) -> StepFailed:
        error = StepFailed(vertex, code, _command(op), output)
        if code == 128 + signal.SIGKILL:
            memory = self._granted().limits.resources.get("memory", {}).get("limit", 0)
            limit = f"its limit of {memory >> 20} MiB (--memory)" if memory else "what this machine has"
            error.hint = f"A process was killed (SIGKILL), most likely because it used more memory than {limit}."
        return error


def _nothing() -> None:
    """What is to be given back where nothing was lent."""


def _inside(op: Exec, bundle: Bundle, mounted: StepMounts | None) -> Bundle:
    """``bundle`` as it is to be used: what has passwords in its environment leaves no configuration on a disk."""
    if mounted is not None:
        return mounted.bundle
    if not op.has_credentials:
        return bundle
    from cais.runtime.private import private_directory, with_private_configuration

    private_directory(bundle)
    return with_private_configuration(bundle)


def _command(op: Exec) -> str:
    return " ".join(op.args)


def _interpreter(platform: str) -> list[Mapping[str, object]]:
    """What runs the programs of another architecture, where the kernel looks for it in the step's own root."""
    from cais.host.binfmt import shown_interpreter
    from cais.runtime.spec import bind
    from cais.spec.platform import Platform

    path = shown_interpreter(Platform.parse(platform).architecture)
    return [bind(os.path.realpath(path), path, ("ro",))] if path else []


def _script(bundle: Bundle, name: str, text: str) -> Mapping[str, object]:
    from cais.runtime.spec import bind

    path = os.path.join(bundle.directory, f"script.{name}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    try:
        os.fchmod(descriptor, 0o755)
        write_all(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)
    return bind(path, f"/dev/pipes/{name}", ("ro",))
