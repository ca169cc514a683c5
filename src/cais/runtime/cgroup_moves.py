"""Processes that are put into control groups: what the first of them waits for, asked for ahead of time.

Who moves a process waits until every processor has passed through the kernel's scheduler (an RCU grace period, 5 to 20
ms), but where somebody else has waited for the same no more than some 15 ms before. An OCI runtime moves each process
that it starts, and the wait is as long as all of its work. So a thread asks for the same while everything is made
ready: it moves this process to where it is, which changes nothing.
"""

from __future__ import annotations

import os
import time
from _thread import start_new_thread

_ROOT = "/sys/fs/cgroup"
# What was waited for does not hold for long: it is asked for anew until the runtime should have come so far.
_STEP_SECONDS = 0.008
_FORESEEN_SECONDS = 0.1


class Foresight:
    """Of one process."""

    def __init__(self) -> None:
        self._until = 0.0
        self._asks = False

    def ask(self) -> None:
        """A process is to be started in a control group, in a tenth of a second at most. Raises nothing."""
        if os.geteuid() != 0:
            return  # who enters a user namespace must have one thread, and may not move processes before
        self._until = time.monotonic() + _FORESEEN_SECONDS
        if self._asks:
            return
        try:
            descriptor = os.open(_own_group(), os.O_WRONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return  # no control groups, or none that can be written: the runtime does without, too
        self._asks = True
        try:
            start_new_thread(self._keep_asking, (descriptor,))
        except RuntimeError:
            self._asks = False
            os.close(descriptor)

    def _keep_asking(self, descriptor: int) -> None:
        try:
            while time.monotonic() < self._until:
                os.write(descriptor, b"0")
                time.sleep(_STEP_SECONDS)
        except OSError:
            pass
        finally:
            self._asks = False
            os.close(descriptor)


def _own_group() -> str:
    """cgroup.procs of the group that this process is in, of any one hierarchy (cgroups(7), /proc/PID/cgroup)."""
    with open("/proc/self/cgroup", "rb") as lines:
        _, controllers, path = os.fsdecode(lines.readline().rstrip(b"\n")).split(":", 2)
    hierarchy = f"{_ROOT}/{controllers.removeprefix('name=')}" if controllers else _ROOT
    return f"{hierarchy}{path.rstrip('/')}/cgroup.procs"
