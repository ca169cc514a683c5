"""Limits: what a container or a build step may use of the host, and how much of that this host can hold it to.

Pure, but for the two questions to the host at the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from cais.errors import Invalid
from cais.runtime.spec import Host
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CPU_PERIOD_MICROSECONDS = 100_000
MEMORY_MINIMUM_BYTES = 6 << 20
_INFINITE = (1 << 64) - 1

_ULIMITS = frozenset(
    ("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
     "rttime", "sigpending", "stack")
)  # fmt: skip


class Resources(NamedTuple):
    """Limits as they are asked for; 0 and "" mean none. ``memory_swap_bytes`` is memory and swap, -1 unlimited.

    ``nano_cpus`` is a quota in billionths of a processor, the other way to say ``cpu_quota_microseconds``.
    """

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids: int = 0
    cpuset_mems: str = ""
    cpu_period_microseconds: int = 0
    cpu_quota_microseconds: int = 0


class Limits(NamedTuple):
    """What the host gave of what was asked for: ``resources`` of the OCI spec. ``warnings`` are lines for the user."""

    resources: dict[str, Any]
    warnings: tuple[str, ...] = ()


def limits(wanted: Resources, host: Host, *, swap_accounting: bool = True) -> Limits:
    """The limits that this host can give, and a warning for each that it cannot."""
    resources: dict[str, Any] = {}
    warnings: list[str] = []

    def has(controller: str, what: str) -> bool:
        if controller in host.controllers:
            return True
        why = (
            "this user may not write control groups"
            if not host.cgroups_writable
            else f"it has no {controller} controller"
        )
        warnings.append(f"WARNING: {what} is not limited: the host cannot do it ({why}).")
        return False

    if (wanted.memory_bytes or wanted.memory_reservation_bytes) and has("memory", "memory"):
        memory: dict[str, int] = {}
        if wanted.memory_bytes:
            memory["limit"] = wanted.memory_bytes
            if swap_accounting:
                memory["swap"] = wanted.memory_swap_bytes
        if wanted.memory_reservation_bytes:
            memory["reservation"] = wanted.memory_reservation_bytes
        resources["memory"] = memory
    cpu: dict[str, Any] = {}
    times = (wanted.nano_cpus, wanted.cpu_shares, wanted.cpu_period_microseconds, wanted.cpu_quota_microseconds)
    if any(times) and has("cpu", "processor time"):
        if wanted.nano_cpus:
            cpu["quota"] = wanted.nano_cpus * CPU_PERIOD_MICROSECONDS // 1_000_000_000
            cpu["period"] = CPU_PERIOD_MICROSECONDS
        if wanted.cpu_quota_microseconds:
            cpu["quota"] = wanted.cpu_quota_microseconds
        if wanted.cpu_period_microseconds:
            cpu["period"] = wanted.cpu_period_microseconds
        if wanted.cpu_shares:
            cpu["shares"] = wanted.cpu_shares
    if (wanted.cpuset_cpus or wanted.cpuset_mems) and has("cpuset", "the set of processors"):
        if wanted.cpuset_cpus:
            cpu["cpus"] = wanted.cpuset_cpus
        if wanted.cpuset_mems:
            cpu["mems"] = wanted.cpuset_mems
    if cpu:
        resources["cpu"] = cpu
    if wanted.pids and has("pids", "the number of processes"):
        resources["pids"] = {"limit": wanted.pids}
    return Limits(resources, tuple(warnings))


def memory_limits(memory_bytes: int, swap_bytes: int) -> tuple[int, int]:
    """(memory, memory and swap) by Docker's rules; ``swap_bytes`` 0 was not given: twice the memory. Raises Invalid."""
    if memory_bytes and memory_bytes < MEMORY_MINIMUM_BYTES:
        raise Invalid("Minimum memory limit allowed is 6MB", exit_code=125)
    if swap_bytes and not memory_bytes:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit", exit_code=125)
    if swap_bytes > 0 and swap_bytes < memory_bytes:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit", exit_code=125)
    return memory_bytes, swap_bytes or memory_bytes * 2


def check_cpus(wanted: Resources, count: int) -> None:
    """Raises Invalid where more processors are asked for than there are."""
    if wanted.nano_cpus > count * 1_000_000_000:
        raise Invalid(
            f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available", exit_code=125
        )


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """``nofile=1024:2048`` as (``RLIMIT_NOFILE``, soft, hard). -1 is unlimited. Raises Invalid."""
    name, _, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    try:
        if name not in _ULIMITS:
            raise ValueError(f"invalid ulimit type: {name}")
        low = int(soft)
        high = int(hard) if colon else low
        if low < -1 or high < -1 or (high != -1 and (low > high or low == -1)):
            raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    except ValueError as error:
        raise Invalid(f'invalid argument "{text}" for "--ulimit" flag: {error}', exit_code=125)
    return f"RLIMIT_{name.upper()}", low, high


def clamped(limit: tuple[str, int, int], hard_limits: Mapping[str, int]) -> tuple[str, int, int]:
    """An rlimit within ``hard_limits`` (by name); -1 (unlimited) becomes what the kernel calls so."""
    name, soft, hard = limit
    ceiling = hard_limits.get(name, -1)
    ceiling = _INFINITE if ceiling < 0 else ceiling
    return (
        name,
        min(_INFINITE if soft < 0 else soft, ceiling),
        min(_INFINITE if hard < 0 else hard, ceiling),
    )


def clamp_warnings(rlimits: Sequence[tuple[str, int, int]], hard_limits: Mapping[str, int]) -> list[str]:
    """A line for each of ``rlimits`` that ``clamped`` makes smaller."""
    lines = []
    for limit in rlimits:
        given = clamped(limit, hard_limits)
        if given[1:] != tuple(_INFINITE if value < 0 else value for value in limit[1:]):
            name = limit[0].removeprefix("RLIMIT_").lower()
            lines.append(f"WARNING: the limit {name} is {given[1]}:{given[2]}: this process may not have more.")
    return lines


def hard_limits(rlimits: Sequence[tuple[str, int, int]]) -> dict[str, int]:
    """This process's own hard limits, by name: nobody that it starts can be given more, unless it is root."""
    if not rlimits:
        return {}
    import resource

    found = {}
    for name, _, _ in rlimits:
        number = getattr(resource, name, None)
        if number is not None:
            found[name] = resource.getrlimit(number)[1]
    return found


def swap_accounting(mode: str) -> bool:
    """Whether this host, of the cgroup ``mode``, can limit swap."""
    if mode in ("legacy", "hybrid"):
        return os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
    return True
