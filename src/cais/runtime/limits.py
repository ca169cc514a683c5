"""Limits: what a container or a build step may use of the host, and how much of that this host can hold it to.

Pure, but for the questions to the host at the end. The values are those of the OCI spec, which are cgroup v1's; crun
and runc translate them for v2 (``cpu.weight``, ``memory.low``, ``io.max``).
"""

from __future__ import annotations

import os

from cais.errors import Invalid
from cais.runtime.spec import Host
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CPU_PERIOD_MICROSECONDS = 100_000
MEMORY_MINIMUM_BYTES = 6 << 20

# A device of this host by its path, and a weight or a rate.
DeviceRates = tuple[tuple[str, int], ...]


class Resources(NamedTuple):
    """Limits as they are asked for; 0 and "" mean none. ``memory_swap_bytes`` is memory and swap, -1 unlimited.

    ``nano_cpus`` is a quota in billionths of a processor, the other way to say ``cpu_quota_microseconds``.
    ``memory_swappiness`` is 0 to 100, -1 the host's. Rates are in bytes or operations a second.
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
    cpu_realtime_period_microseconds: int = 0
    cpu_realtime_runtime_microseconds: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    blkio_weight: int = 0
    blkio_weight_devices: DeviceRates = ()
    device_read_bps: DeviceRates = ()
    device_write_bps: DeviceRates = ()
    device_read_iops: DeviceRates = ()
    device_write_iops: DeviceRates = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Resources:
        """What ``_asdict`` gave, after a way through JSON."""
        known: dict[str, Any] = {}
        for name, item in value.items():
            if name in cls._fields:
                known[name] = tuple((path, rate) for path, rate in item) if isinstance(item, list) else item
        return cls(**known)


_THROTTLES = (
    ("device_read_bps", "throttleReadBpsDevice"),
    ("device_write_bps", "throttleWriteBpsDevice"),
    ("device_read_iops", "throttleReadIOPSDevice"),
    ("device_write_iops", "throttleWriteIOPSDevice"),
)


class Limits(NamedTuple):
    """What the host gave of what was asked for: ``resources`` of the OCI spec. ``warnings`` are lines for the user."""

    resources: dict[str, Any]
    warnings: tuple[str, ...] = ()


def limits(wanted: Resources, host: Host, *, lacking: frozenset[str] = frozenset()) -> Limits:
    """The limits that this host can give, and a warning for each that it cannot; ``lacking`` is what ``lacking`` found.

    Raises Invalid for a device that is not there.
    """
    warnings: list[str] = []

    def has(controller: str, what: str) -> bool:
        if controller in host.controllers or (controller == "blkio" and "io" in host.controllers):
            return True
        why = (
            "this user may not write control groups"
            if not host.cgroups_writable
            else f"it has no {controller} controller"
        )
        warnings.append(f"WARNING: {what} is not limited: the host cannot do it ({why}).")
        return False

    def can(feature: str) -> bool:
        if feature in lacking:
            warnings.append(f"WARNING: {_LACKING[feature]}")
        return feature not in lacking

    parts: dict[str, Any] = {"memory": _memory(wanted, has, can), "cpu": _cpu(wanted, has, can)}
    if wanted.pids and has("pids", "the number of processes"):
        parts["pids"] = {"limit": wanted.pids}
    parts["blockIO"] = _block_io(wanted, has, can)
    return Limits({name: part for name, part in parts.items() if part}, tuple(warnings))


# Docker's words for what the kernel has no file for.
_LACKING = {
    "swap": "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without "
    "swap.",
    "swappiness": "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory "
    "swappiness discarded.",
    "oom": "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    "realtime": "Your kernel does not support CPU real-time scheduler. CPU real-time period/runtime discarded.",
    "weight": "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    "weight-device": "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device "
    "discarded.",
}
FEATURES = frozenset(_LACKING)


def _memory(wanted: Resources, has: Any, can: Any) -> dict[str, Any]:
    asked = (wanted.memory_bytes, wanted.memory_reservation_bytes, wanted.memory_swappiness >= 0)
    if not any((*asked, wanted.oom_kill_disable)) or not has("memory", "memory"):
        return {}
    memory: dict[str, Any] = {}
    if wanted.memory_bytes:
        memory["limit"] = wanted.memory_bytes
        if wanted.memory_swap_bytes and can("swap"):
            memory["swap"] = wanted.memory_swap_bytes
    if wanted.memory_reservation_bytes:
        memory["reservation"] = wanted.memory_reservation_bytes
    if wanted.memory_swappiness >= 0 and can("swappiness"):
        memory["swappiness"] = wanted.memory_swappiness
    if wanted.oom_kill_disable and can("oom"):
        memory["disableOOMKiller"] = True
    return memory


def _cpu(wanted: Resources, has: Any, can: Any) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    times = (wanted.nano_cpus, wanted.cpu_shares, wanted.cpu_period_microseconds, wanted.cpu_quota_microseconds)
    realtime = (wanted.cpu_realtime_period_microseconds, wanted.cpu_realtime_runtime_microseconds)
    if any((*times, *realtime)) and has("cpu", "processor time"):
        if wanted.nano_cpus:
            cpu["quota"] = wanted.nano_cpus * CPU_PERIOD_MICROSECONDS // 1_000_000_000
            cpu["period"] = CPU_PERIOD_MICROSECONDS
        if wanted.cpu_quota_microseconds:
            cpu["quota"] = wanted.cpu_quota_microseconds
        if wanted.cpu_period_microseconds:
            cpu["period"] = wanted.cpu_period_microseconds
        if wanted.cpu_shares:
            cpu["shares"] = wanted.cpu_shares
        if any(realtime) and can("realtime"):
            given = (("realtimePeriod", realtime[0]), ("realtimeRuntime", realtime[1]))
            cpu.update((name, value) for name, value in given if value)
    if (wanted.cpuset_cpus or wanted.cpuset_mems) and has("cpuset", "the set of processors"):
        if wanted.cpuset_cpus:
            cpu["cpus"] = wanted.cpuset_cpus
        if wanted.cpuset_mems:
            cpu["mems"] = wanted.cpuset_mems
    return cpu


def _block_io(wanted: Resources, has: Any, can: Any) -> dict[str, Any]:
    throttles = [(name, getattr(wanted, field)) for field, name in _THROTTLES if getattr(wanted, field)]
    if not (wanted.blkio_weight or wanted.blkio_weight_devices or throttles) or not has("blkio", "block I/O"):
        return {}
    block: dict[str, Any] = {}
    if wanted.blkio_weight and can("weight"):
        block["weight"] = wanted.blkio_weight
    if wanted.blkio_weight_devices and can("weight-device"):
        block["weightDevice"] = [
            {**_numbers(path), "weight": weight} for path, weight in wanted.blkio_weight_devices if weight
        ]
    for name, rates in throttles:
        block[name] = [{**_numbers(path), "rate": rate} for path, rate in rates]
    return block


def _numbers(path: str) -> dict[str, int]:
    """Raises Invalid with Docker's words."""
    try:
        number = os.stat(path).st_rdev
    except OSError as error:
        raise Invalid(f"cannot limit the device {path}: {error.strerror}", exit_code=125)
    return {"major": os.major(number), "minor": os.minor(number)}


def memory_limits(memory_bytes: int, swap_bytes: int) -> tuple[int, int]:
    """(memory, memory and swap) by Docker's rules; ``swap_bytes`` 0 was not given: twice the memory. Raises Invalid."""
    if memory_bytes and memory_bytes < MEMORY_MINIMUM_BYTES:
        raise Invalid("Minimum memory limit allowed is 6MB", exit_code=125)
    if swap_bytes > 0 and not memory_bytes:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage", exit_code=125)
    if 0 < swap_bytes < memory_bytes:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage", exit_code=125)
    return memory_bytes, swap_bytes or memory_bytes * 2


def lacking(mode: str) -> frozenset[str]:
    """What the cgroups of this host, of ``mode``, have no file for: some of ``FEATURES``."""
    if mode == "unified":
        # Version 2 has neither; how it weighs is decided by each device's scheduler.
        return frozenset(("swappiness", "oom", "realtime"))
    files = {
        "swap": ("memory/memory.memsw.limit_in_bytes",),
        "swappiness": ("memory/memory.swappiness",),
        "oom": ("memory/memory.oom_control",),
        "realtime": ("cpu/cpu.rt_runtime_us",),
        "weight": ("blkio/blkio.weight", "blkio/blkio.bfq.weight"),
        "weight-device": ("blkio/blkio.weight_device", "blkio/blkio.bfq.weight_device"),
    }
    return frozenset(
        feature
        for feature, names in files.items()
        if not any(os.path.exists(f"/sys/fs/cgroup/{name}") for name in names)
    )
