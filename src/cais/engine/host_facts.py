"""Facts of this host that decide what Cais can do on it, each with the reason where something is missing."""

from __future__ import annotations

import os

from cais.engine.settings import Settings
from cais.errors import CaisError
from cais.host.processes import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.runtime.find import Cgroups


def host_facts(settings: Settings) -> dict[str, Any]:
    """Named as in Docker's ``info``; ``Warnings`` says in one line each what this host lacks and what would give it."""
    from cais.container.prepare import INIT_PROGRAMS
    from cais.host.namespaces import shortage
    from cais.runtime.cdi import DIRECTORIES, registered
    from cais.runtime.find import cgroups
    from cais.runtime.seccomp import installed_profile

    system = os.uname()
    groups = cgroups()
    warnings: list[str] = []
    runtimes, default = _runtimes(settings.runtime, warnings)
    if not installed_profile():
        warnings.append("no seccomp profile is installed: containers run without one (Debian: containers-common)")
    if not groups.writable:
        warnings.append("cgroups cannot be written by this user: no limits of memory, processors or processes")
    ids = shortage()
    if ids:
        warnings.append(ids)
    if not find_program("conmon"):
        warnings.append("conmon is not installed: containers cannot be detached (Debian: conmon)")
    init = next((name for name in INIT_PROGRAMS if find_program(name)), "")
    return {
        **_limits(groups, warnings),
        "IPv4Forwarding": _is_on("/proc/sys/net/ipv4/ip_forward"),
        "BridgeNfIptables": _is_on("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        "BridgeNfIp6tables": _is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs" if groups.writable else "none",
        "CgroupVersion": "2" if groups.mode == "unified" else "1",
        "CgroupMode": groups.mode,
        "CgroupControllers": sorted(groups.controllers),
        "KernelVersion": system.release,
        "OperatingSystem": _operating_system("PRETTY_NAME") or "Linux",
        "OSVersion": _operating_system("VERSION_ID"),
        "OSType": "linux",
        "Architecture": system.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": system.nodename,
        "Plugins": _plugins(),
        "Runtimes": runtimes,
        "DefaultRuntime": default,
        "InitBinary": init,
        "SecurityOptions": _security(groups, installed_profile()),
        "SeccompProfile": installed_profile(),
        "Rootless": os.geteuid() != 0,
        "CDISpecDirs": list(DIRECTORIES),
        "DiscoveredDevices": [{"Source": "cdi", "ID": device.name} for device in registered()] or None,
        "Warnings": warnings,
    }


def _runtimes(wanted: str, warnings: list[str]) -> tuple[dict[str, Any], str]:
    """Those that ``--runtime`` takes by name, and the name of the one that is taken without it."""
    from cais.runtime.find import find_runtime

    found = {name: {"path": path} for name in ("crun", "runc") if (path := find_program(name))}
    try:
        default = find_runtime(wanted)
    except CaisError as error:
        warnings.append(f"{error.message}. {error.hint}".strip())
        return found, ""
    for name, place in found.items():
        if place["path"] == default.path:
            return found, name
    return {**found, wanted: {"path": default.path}}, wanted


def _limits(groups: Cgroups, warnings: list[str]) -> dict[str, Any]:
    """What containers can be limited in. Where this user may write no control groups, that is said once."""
    from cais.runtime.limits import lacking

    missing = lacking(groups.mode)
    has = groups.controllers.__contains__
    block = has("blkio") or has("io")
    facts = {
        "MemoryLimit": (has("memory"), "No memory limit support"),
        "SwapLimit": (has("memory") and "swap" not in missing, "No swap limit support"),
        "CpuCfsPeriod": (has("cpu"), "No cpu cfs period support"),
        "CpuCfsQuota": (has("cpu"), "No cpu cfs quota support"),
        "CPUShares": (has("cpu"), "No cpu shares support"),
        "CPUSet": (has("cpuset"), "No cpuset support"),
        "PidsLimit": (has("pids"), "No pids limit support"),
        "BlkioThrottle": (block, "No blkio throttle support"),
        "BlkioWeight": (block and "weight" not in missing, "No blkio weight support"),
        "OomKillDisable": (has("memory") and "oom" not in missing, ""),
    }
    if groups.writable:
        warnings += [text for given, text in facts.values() if text and not given]
    return {name: given for name, (given, _) in facts.items()}


def _plugins() -> dict[str, Any]:
    from cais.network.definition import DRIVERS

    logs = ["json-file", "local", "none"]
    if os.path.exists("/run/systemd/journal/socket"):
        logs.insert(0, "journald")
    return {
        "Volume": ["local"],
        "Network": sorted((*DRIVERS, "host", "null")),
        "Authorization": None,
        "Log": sorted(logs),
    }


def _security(groups: Cgroups, profile: str) -> list[str]:
    options = []
    if _begins("/sys/module/apparmor/parameters/enabled", "Y"):
        options.append("name=apparmor")
    if profile:
        options.append("name=seccomp,profile=builtin")
    if os.path.exists("/sys/fs/selinux/enforce"):
        options.append("name=selinux")
    if os.geteuid() != 0:
        options.append("name=rootless")
    if groups.writable:
        options.append("name=cgroupns")
    return options


def _begins(path: str, text: str) -> bool:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(len(text)) == text
    except OSError:
        return False


def _is_on(path: str) -> bool:
    return _begins(path, "1")


def _operating_system(key: str) -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(key + "="):
                    return line.partition("=")[2].strip().strip('"')
    except OSError:
        pass
    return ""
