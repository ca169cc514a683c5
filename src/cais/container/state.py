"""What a container really does: its record, corrected by a look at the process. Starts nothing, mounts nothing."""

from __future__ import annotations

import os
import time

from cais.container.records import ContainerRecord
from cais.host.processes import ProcessName, is_alive
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.runtime.runner import Runtime

EXITS = "exit"
# The exit code of what was killed together with everyone who could have noted one.
UNKNOWN_EXIT_CODE = 137
# ... of what ran when the host went down, as Docker says it.
REBOOTED_EXIT_CODE = 255


class State(NamedTuple):
    """``status``: ``created``, ``running``, ``paused``, ``restarting``, ``removing`` or ``exited``.

    ``process`` is the first one inside, while it runs (paused, too). ``oom_killed``: in its last run the kernel killed
    something of it, because it had used up its memory.
    """

    status: str
    exit_code: int = 0
    finished: float = 0.0
    process: ProcessName | None = None
    oom_killed: bool = False

    @property
    def lives(self) -> bool:
        """Whether there are processes of it: running or paused."""
        return self.status in ("running", "paused")

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    @property
    def is_up(self) -> bool:
        """It runs, or is about to again: Docker counts all of these as running."""
        return self.lives or self.status == "restarting"


def exit_directory(root: str, id: str) -> str:
    """Where conmon notes the exit code of container ``id``. ``root`` is the parent of all containers' directories."""
    return os.path.join(root, id, EXITS)


def look(record: ContainerRecord, runtime: Runtime, root: str) -> State:
    """The truth about ``record``. One whose starter still works on it counts as running."""
    if record.state == "restarting":
        from cais.container import waiting

        waits = waiting.find(os.path.join(root, record.id), waiting.RESTART) is not None
        return State("restarting" if waits else "exited", record.exit_code, record.finished)
    if record.state != "running":
        return State(record.state, record.exit_code, record.finished, oom_killed=record.oom_killed)
    bundle = runtime.opened(record.id)
    note = runtime.note(bundle)
    if note is not None and is_alive(note.process):
        if runtime.waits_for_start(bundle) and not runtime.is_owned(record.id):
            return State("exited", UNKNOWN_EXIT_CODE, time.time())  # who would have started it was killed
        from cais.runtime.cgroup_files import is_frozen  # `ps` of nothing does not pay for it

        status = "paused" if is_frozen(note.group) else "running"
        return State(status, finished=record.finished, process=note.process)
    from cais.runtime import conmon  # only for what was noted to run: `ps` of nothing does not pay for it
    from cais.runtime.cgroup_files import out_of_memory

    noted = conmon.exit_code(exit_directory(root, record.id), record.id)
    if noted is not None and noted[1] >= record.started - 1:
        status = "restarting" if _begins_again(record, runtime, *noted) else "exited"
        return State(status, *noted, oom_killed=note is not None and out_of_memory(note.group))
    if runtime.is_owned(record.id):
        return State("running")
    return State("exited", UNKNOWN_EXIT_CODE if runtime.is_of_this_boot else REBOOTED_EXIT_CODE, time.time())


def _begins_again(record: ContainerRecord, runtime: Runtime, exit_code: int, finished: float) -> bool:
    """Whether the one who has noted its end is about to have it started again."""
    known = record.plan.get("restart")
    if known is None or not runtime.is_owned(record.id):
        return False
    from cais.container import restart

    policy = restart.RestartPolicy.from_json(known)
    return restart.after(policy, record.restarts, exit_code, finished - record.started) is not None
