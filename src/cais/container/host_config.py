"""HostConfig and Config of ``container inspect``: what was asked for, as Docker's API shows it. Pure."""

from __future__ import annotations

from cais.container.isolation import Request
from cais.container.plan import Plan
from cais.runtime import spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cais.runtime.limits import Resources


def isolation(plan: Plan, *, runtime: str, cgroup_namespace: str) -> dict[str, Any]:
    """The part of HostConfig that is about resources, security, devices and namespaces.

    ``runtime`` and ``cgroup_namespace`` are what a container has here that asks for none.
    """
    modes, security = plan.namespaces, plan.security
    hidden = not security.unmasked
    value: dict[str, Any] = {
        "ContainerIDFile": plan.cidfile,
        "CapAdd": list(plan.cap_add) or None,
        "CapDrop": list(plan.cap_drop) or None,
        "CgroupnsMode": modes.cgroup or cgroup_namespace,
        "GroupAdd": list(plan.group_add) or None,
        "IpcMode": modes.ipc or "private",
        "Cgroup": "",
        "OomScoreAdj": plan.oom_score_adj,
        "PidMode": modes.pid,
        "Privileged": security.privileged,
        "ReadonlyRootfs": plan.readonly,
        "SecurityOpt": _security_opt(plan),
        "UTSMode": modes.uts,
        "UsernsMode": modes.user,
        "ShmSize": plan.shm_bytes,
        "Runtime": plan.runtime or runtime,
        "Isolation": plan.isolation,
        **limits(plan.resources),
        "CgroupParent": plan.cgroup_parent,
        "Devices": [
            {"PathOnHost": node.source, "PathInContainer": node.target, "CgroupPermissions": node.access}
            for node in plan.devices.nodes
        ],
        "DeviceCgroupRules": list(plan.devices.rules) or None,
        "DeviceRequests": [_request(item) for item in plan.devices.requests] or None,
        "Ulimits": [
            {"Name": name.removeprefix("RLIMIT_").lower(), "Hard": hard, "Soft": soft}
            for name, soft, hard in sorted(plan.rlimits)
        ],
        "MaskedPaths": list(spec.MASKED_PATHS) if hidden else None if security.privileged else [],
        "ReadonlyPaths": list(spec.READONLY_PATHS) if hidden else None if security.privileged else [],
    }
    # Docker leaves these out where there are none.
    if plan.sysctls:
        value["Sysctls"] = _sorted(plan.sysctls)
    if plan.annotations:
        value["Annotations"] = _sorted(plan.annotations)
    if plan.storage_opts:
        value["StorageOpt"] = _sorted(plan.storage_opts)
    if plan.init:
        value["Init"] = True
    return value


def _sorted(pairs: Iterable[str]) -> dict[str, str]:
    """``key=value``, as Docker shows all its maps."""
    return dict(sorted({key: text for key, _, text in (pair.partition("=") for pair in pairs)}.items()))


def limits(resources: Resources) -> dict[str, Any]:
    """Docker's ``Resources``."""
    return {
        "CpuShares": resources.cpu_shares,
        "Memory": resources.memory_bytes,
        "NanoCpus": resources.nano_cpus,
        "BlkioWeight": resources.blkio_weight,
        "BlkioWeightDevice": _rates(resources.blkio_weight_devices, "Weight"),
        "BlkioDeviceReadBps": _rates(resources.device_read_bps),
        "BlkioDeviceWriteBps": _rates(resources.device_write_bps),
        "BlkioDeviceReadIOps": _rates(resources.device_read_iops),
        "BlkioDeviceWriteIOps": _rates(resources.device_write_iops),
        "CpuPeriod": resources.cpu_period_microseconds,
        "CpuQuota": resources.cpu_quota_microseconds,
        "CpuRealtimePeriod": resources.cpu_realtime_period_microseconds,
        "CpuRealtimeRuntime": resources.cpu_realtime_runtime_microseconds,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "MemoryReservation": resources.memory_reservation_bytes,
        "MemorySwap": resources.memory_swap_bytes,
        "MemorySwappiness": resources.memory_swappiness if resources.memory_swappiness >= 0 else None,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": resources.pids or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _rates(values: Iterable[tuple[str, int]], name: str = "Rate") -> list[dict[str, Any]]:
    return [{"Path": path, name: rate} for path, rate in values]


def _security_opt(plan: Plan) -> list[str] | None:
    options = list(plan.security.options)
    if not options:
        # Plans of earlier versions have only what was decided.
        options += ["no-new-privileges"] if plan.no_new_privileges else []
        if plan.seccomp not in ("default", "profile") and not plan.security.privileged:
            options.append(f"seccomp={plan.seccomp}")
    modes = plan.namespaces
    if plan.security.privileged or "host" in (modes.pid, modes.ipc):
        options.append("label=disable")
    return options or None


def _request(item: Request) -> dict[str, Any]:
    return {
        "Driver": item.driver,
        "Count": item.number,
        "DeviceIDs": list(item.ids) or None,
        "Capabilities": [list(item.capabilities)] if item.capabilities else None,
        "Options": dict(option.partition("=")[::2] for option in item.options) if item.is_gpu else None,
    }


# Docker's order of HostConfig.
_ORDER = (
    "Binds", "ContainerIDFile", "LogConfig", "NetworkMode", "PortBindings", "RestartPolicy", "AutoRemove",
    "VolumeDriver", "VolumesFrom", "ConsoleSize", "Annotations", "CapAdd", "CapDrop", "CgroupnsMode", "Dns",
    "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "IpcMode", "Cgroup", "Links", "OomScoreAdj", "PidMode",
    "Privileged", "PublishAllPorts", "ReadonlyRootfs", "SecurityOpt", "StorageOpt", "Tmpfs", "UTSMode", "UsernsMode",
    "ShmSize", "Sysctls", "Runtime", "Isolation", "CpuShares", "Memory", "NanoCpus", "CgroupParent", "BlkioWeight",
    "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps",
    "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems", "Devices",
    "DeviceCgroupRules", "DeviceRequests", "MemoryReservation", "MemorySwap", "MemorySwappiness", "OomKillDisable",
    "PidsLimit", "Ulimits", "CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "Mounts", "MaskedPaths",
    "ReadonlyPaths", "Init",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_ORDER)}


def in_dockers_order(host_config: dict[str, Any]) -> dict[str, Any]:
    """What Docker does not have comes last."""
    return {name: host_config[name] for name in sorted(host_config, key=lambda name: _PLACES.get(name, len(_PLACES)))}
