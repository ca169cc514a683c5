"""Facts of this host that decide what Cais can do on it, each with the reason where something is missing."""

from __future__ import annotations

import os

from cais.engine.settings import Settings
from cais.errors import CaisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def host_facts(settings: Settings) -> dict[str, Any]:
    """Named as in Docker's ``info``; ``Warnings`` says in one line each what this host lacks and what would give it."""
    from cais.host.namespaces import shortage
    from cais.runtime.find import cgroups, find_program, find_runtime
    from cais.runtime.seccomp import installed_profile

    system = os.uname()
    groups = cgroups()
    warnings = []
    try:
        runtime = find_runtime(settings.runtime).path
    except CaisError as error:
        runtime = ""
        warnings.append(f"{error.message}. {error.hint}".strip())
    if not installed_profile():
        warnings.append("no seccomp profile is installed: containers run without one (Debian: containers-common)")
    if not groups.writable:
        warnings.append("cgroups cannot be written by this user: no limits of memory, processors or processes")
    ids = shortage()
    if ids:
        warnings.append(ids)
    if not find_program("conmon"):
        warnings.append("conmon is not installed: containers cannot be detached (Debian: conmon)")
    return {
        "KernelVersion": system.release,
        "OperatingSystem": _operating_system(),
        "OSType": "linux",
        "Architecture": system.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": system.nodename,
        "DefaultRuntime": runtime,
        "CgroupMode": groups.mode,
        "CgroupControllers": sorted(groups.controllers),
        "SeccompProfile": installed_profile(),
        "Rootless": os.geteuid() != 0,
        "Warnings": warnings,
    }


def _operating_system() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("PRETTY_NAME="):
                    return line.partition("=")[2].strip().strip('"')
    except OSError:
        pass
    return "Linux"
