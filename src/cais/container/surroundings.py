"""What a plan's words mean on this host at this moment: devices, other containers' namespaces, security modules."""

from __future__ import annotations

import os

from cais.container.isolation import joined
from cais.container.plan import Plan
from cais.container.spec_oci import Surroundings
from cais.errors import Conflict, Unsupported
from cais.runtime import spec
from cais.runtime.guardian import SHM
from cais.runtime.runner import Bundle, Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.runtime.host_devices import Given


def look(runtime: Runtime, plan: Plan, bundle: Bundle) -> Surroundings:
    """Raises Conflict (a container to join does not run), NotFound (a device), Unsupported."""
    warnings: list[str] = []
    shared, shm_source = _namespaces(runtime, plan, bundle)
    given = _nodes(runtime, plan)
    edits = _cdi(plan, warnings) if plan.devices.requests else None
    return Surroundings(
        shared,
        shm_source,
        (*(given.devices if given else ()), *(edits.devices if edits else ())),
        (*(given.rules if given else ()), *(spec.device_rule(text) for text in plan.devices.rules)),
        (*(given.mounts if given else ()), *(edits.mounts if edits else ())),
        edits.env if edits else (),
        edits.hooks if edits else {},
        _apparmor(plan, warnings),
        _selinux(plan, warnings),
        _oom_score(plan.oom_score_adj, runtime.host.user_namespace, warnings),
        tuple(warnings),
    )


def _nodes(runtime: Runtime, plan: Plan) -> Given | None:
    if not plan.devices.nodes and not plan.security.privileged:
        return None
    from cais.runtime import host_devices

    nodes = [node for item in plan.devices.nodes for node in host_devices.find(*item)]
    if plan.security.privileged:
        nodes = [*host_devices.every(), *nodes]
    return host_devices.give(nodes, user_namespace=runtime.host.user_namespace)


def _namespaces(runtime: Runtime, plan: Plan, bundle: Bundle) -> tuple[dict[str, str], str | None]:
    shared: dict[str, str] = {}
    modes = plan.namespaces
    shm_source: str | None = None
    for kind, mode in (("pid", modes.pid), ("ipc", modes.ipc), ("uts", modes.uts), ("cgroup", modes.cgroup)):
        other = joined(mode)
        if mode == "host":
            shared[kind] = ""
        elif other:
            process = runtime.process(runtime.opened(other))
            if process is None:
                raise Conflict(
                    f"failed to join {kind.upper()} namespace: container {other} is not running", exit_code=125
                )
            shared[kind] = f"/proc/{process.pid}/ns/{kind}"
            if kind == "ipc":
                shm_source = os.path.join(bundle.directory, SHM)
                _borrow_shm(process.pid, shm_source)
    if modes.ipc == "host":
        shm_source = "/dev/shm"
    elif modes.ipc == "none":
        shm_source = ""
    return shared, shm_source


def _borrow_shm(pid: int, target: str) -> None:
    from cais.host.foreign_mounts import bind_from

    os.mkdir(target, 0o700)
    bind_from(pid, "/dev/shm", target)


def _cdi(plan: Plan, warnings: list[str]) -> Any:
    from cais.container.devices import cdi_names
    from cais.runtime import cdi

    names = cdi_names(plan.devices.requests, [device.name for device in cdi.registered()])
    edits = cdi.edits([f"{name},required" for name in names], ("device",), hooks=True)
    warnings += edits.notes
    return edits


def _apparmor(plan: Plan, warnings: list[str]) -> str:
    """The profile that is to be applied. Where nobody asked for one, the host's own rules decide."""
    wanted = plan.security.apparmor
    if wanted in ("", "unconfined"):
        return wanted if wanted and _has_apparmor() else ""
    if not _has_apparmor():
        warnings.append(f"WARNING: the AppArmor profile {wanted} is not applied: this host has no AppArmor.")
        return ""
    return wanted


def _has_apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="utf-8") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def _selinux(plan: Plan, warnings: list[str]) -> str:
    parts = [text for text in plan.security.labels if text not in ("disable", "nested")]
    if not parts or "disable" in plan.security.labels:
        return ""
    if not os.path.exists("/sys/fs/selinux/enforce"):
        warnings.append("WARNING: the SELinux labels are not applied: this host has no SELinux.")
        return ""
    try:
        with open("/proc/self/attr/current", encoding="utf-8") as file:
            user, role, kind, *level = file.read().strip("\0\n").split(":", 3)
    except (OSError, ValueError):
        raise Unsupported("the SELinux label of this process cannot be read", exit_code=125)
    label = {"user": user, "role": role, "type": kind, "level": level[0] if level else "s0"}
    label.update(text.partition(":")[::2] for text in parts if ":" in text and text.partition(":")[0] in label)
    return ":".join(label.values())


def _oom_score(wanted: int, user_namespace: bool, warnings: list[str]) -> int | None:
    """None where it is the host's own. Only CAP_SYS_RESOURCE of the host makes it smaller."""
    if not wanted:
        return None
    with open("/proc/self/oom_score_adj", encoding="utf-8") as file:
        own = int(file.read())
    with open("/proc/self/status", "rb") as status:
        effective = next(int(line[7:], 16) for line in status if line.startswith(b"CapEff:"))
    if wanted < own and (user_namespace or not effective >> _CAP_SYS_RESOURCE & 1):
        warnings.append(f"WARNING: the OOM score is {own}: this process may not make it smaller.")
        return own
    return wanted


_CAP_SYS_RESOURCE = 24
