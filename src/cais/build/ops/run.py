"""Carrying out RUN: the process of a step in the file system of its vertex, and what stands beside it while it runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from cais.build.graph import Exec, Vertex
from cais.build.ops.output import Output
from cais.errors import CaisError, Cancelled, Failed
from cais.runtime.runner import Bundle, Runtime
from cais.runtime.steps import run_step, step_spec
from cais.spec.progress import Progress


class StepFailed(Failed):
    """A RUN step's process ended with a code other than 0. ``output`` is the last of what it said."""

    def __init__(self, vertex: Vertex, code: int, command: str, output: bytes) -> None:
        super().__init__(f'process "{command}" did not complete successfully: exit code: {code}')
        self.vertex = vertex
        self.code = code
        self.output = output


class Runs:
    """``cancelled`` ends what runs; it is set here when the output of a step can no more be shown."""

    def __init__(self, runtime: Runtime, progress: Progress, cancelled: threading.Event) -> None:
        self._runtime = runtime
        self._progress = progress
        self._cancelled = cancelled

    def run(self, vertex: Vertex, op: Exec, bundle: Bundle, id: int) -> None:
        """``bundle`` has the vertex's file system mounted. Raises StepFailed, Cancelled, Failed (it did not start)."""
        env = [f"{name}={value}" for name, value in (*op.env, *op.hidden_env)]
        mounts = [_script(bundle, name, text) for name, text in op.scripts]
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
            output = Output(id, self._progress, self._cancelled.set)
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


def _command(op: Exec) -> str:
    return " ".join(op.args)


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
