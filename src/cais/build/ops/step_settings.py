"""What every RUN of a build gets that is neither in its op nor in its key: limits, and which devices may be had."""

from __future__ import annotations

import os

from cais.runtime import cdi, limits, ulimits
from cais.runtime.limits import Limits, Resources
from cais.runtime.spec import SHM_BYTES, Host
from cais.spec.named import NamedTuple

PROCESSES_LEAST = 4096
PROCESSES_PER_PROCESSOR = 64


class StepSettings(NamedTuple):
    """``rlimits`` are (``RLIMIT_..``, soft, hard), -1 unlimited. ``cgroup_parent`` is absolute, or "".

    ``allowed`` are the entitlements that were given (``--allow``).
    """

    resources: Resources = Resources()
    shm_bytes: int = SHM_BYTES
    rlimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = ""
    allowed: tuple[str, ...] = ()


NO_LIMITS = StepSettings()


class Granted(NamedTuple):
    """What this host gives of it. ``warnings`` are lines for the user."""

    limits: Limits
    rlimits: tuple[tuple[str, int, int], ...]
    warnings: tuple[str, ...]


def grant(settings: StepSettings, host: Host) -> Granted:
    """A step that was given no limit of processes has one that no build comes near: a fork bomb ends in its step."""
    wanted = settings.resources
    if not wanted.pids and "pids" in host.controllers:
        wanted = wanted._replace(pids=default_processes())
    given = limits.limits(wanted, host, lacking=limits.lacking(host.cgroup_mode))
    ceilings = ulimits.hard_limits(settings.rlimits)
    warnings = [*given.warnings, *ulimits.clamp_warnings(settings.rlimits, ceilings)]
    if settings.cgroup_parent and not host.cgroups_writable:
        warnings.append("WARNING: --cgroup-parent is not used: this user may not write control groups.")
    return Granted(given, tuple(ulimits.clamped(limit, ceilings) for limit in settings.rlimits), tuple(warnings))


def default_processes() -> int:
    """How many processes and threads a step may have: by the processors, and no more than half of all there can be."""
    try:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            most = int(file.read()) // 2
    except (OSError, ValueError):
        most = 1 << 14
    return min(most, max(PROCESSES_LEAST, PROCESSES_PER_PROCESSOR * (os.cpu_count() or 1)))


def devices(wanted: tuple[str, ...], allowed: tuple[str, ...]) -> cdi.Edits:
    """Raises what ``cdi.edits`` raises."""
    return cdi.edits(wanted, allowed)
