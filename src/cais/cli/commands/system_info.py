"""``cais system info``, ``cais info``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Display system-wide information",
    aliases=("system info", "info"),
    flags=(inspect_format(),),
    examples=("cais info", "cais info -f '{{.Driver}}'"),
)
# What is shown first, and how it is called; all other facts follow by their own names.
_TITLES = {
    "Containers": "Containers", "ContainersRunning": " Running", "ContainersPaused": " Paused",
    "ContainersStopped": " Stopped", "Images": "Images", "ServerVersion": "Version", "DockerRootDir": "Root Directory",
    "Driver": "Storage Driver", "DefaultRuntime": "Runtime", "CgroupMode": "Cgroups",
    "CgroupControllers": "Cgroup Controllers", "SeccompProfile": "Seccomp Profile", "Rootless": "Rootless",
    "KernelVersion": "Kernel Version", "OperatingSystem": "Operating System", "OSType": "OSType",
    "Architecture": "Architecture", "NCPU": "CPUs", "MemTotal": "Total Memory", "Name": "Name",
}  # fmt: skip


def run(call: Call) -> int:
    from cais.cli.call import say, warn

    facts = call.engine.system.info()
    if call["format"]:
        from cais.cli.documents import formatted

        say(formatted(facts, call["format"]))
        return 0
    shown = dict(facts)
    warnings = shown.pop("Warnings", None) or ()
    for name, title in _TITLES.items():
        if name in shown:
            say(f"{title}: {_text(name, shown.pop(name))}")
    for name, value in shown.items():
        say(f"{name}: {_text(name, value)}")
    for warning in warnings:
        warn(f"WARNING: {warning}")
    return 0


def _text(name: str, value: Any) -> str:
    if name == "MemTotal":
        from cais.cli.units import binary_size

        return binary_size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return _pairs(value)
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return str(value)


def _pairs(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={item}" for key, item in value.items())
