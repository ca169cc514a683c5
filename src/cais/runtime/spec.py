"""OCI runtime specs for a container or a build step: Docker's defaults, as values. Pure.

https://github.com/opencontainers/runtime-spec
"""

from __future__ import annotations

import os

from cais.errors import Denied, Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUILD_HOSTNAME = "buildkitsandbox"
SHM_BYTES = 64 << 20

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip

# All that the kernel knows, by number (capability.h).
ALL_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


# Namespaces that are not the container's own: none.
_ALL_OWN: Mapping[str, str] = {}


class Host(NamedTuple):
    """What a spec has to know of the host. ``capabilities``: those that this process may hand on (its bounding set)."""

    user_namespace: bool = False
    id_count: int = 1 << 32
    cgroup_mode: str = "none"
    controllers: frozenset[str] = frozenset()
    cgroups_writable: bool = False
    capabilities: frozenset[str] = frozenset(ALL_CAPABILITIES)
    seccomp: dict[str, Any] | None = None


class Process(NamedTuple):
    """The process to run. ``env`` are ``NAME=value``; ids are numbers inside the container."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user_id: int = 0
    group_id: int = 0
    groups: tuple[int, ...] = ()
    terminal: bool = False
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    no_new_privileges: bool = False
    rlimits: tuple[tuple[str, int, int], ...] = ()
    oom_score_adj: int | None = None
    apparmor: str = ""
    selinux: str = ""


def base_mounts(
    host: Host,
    *,
    network: str,
    shm_bytes: int = SHM_BYTES,
    writable: bool = False,
    shared: Mapping[str, str] = _ALL_OWN,
    shm_source: str | None = None,
) -> list[dict[str, Any]]:
    """The file systems that every container has, in the order in which they are mounted.

    ``writable``: /sys and the control groups are. ``shm_source``: None for a /dev/shm of its own, "" for none, else
    the directory that is bound there. ``shared`` as for ``build``.
    """
    access = "rw" if writable else "ro"
    devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if host.id_count > 5:
        devpts.append("gid=5")
    proc = _mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"])
    if host.user_namespace and shared.get("pid") == "":
        # proc shows a namespace of processes; only its owner may mount it.
        proc = _mount("/proc", "bind", "/proc", ["rbind", "nosuid", "noexec", "nodev"])
    mounts: list[dict[str, Any]] = [
        proc,
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", devpts),
    ]
    if host.user_namespace and network == "host":
        # sysfs shows a network namespace; only its owner may mount it.
        mounts.append(_mount("/sys", "bind", "/sys", ["rbind", access, "nosuid", "noexec", "nodev"]))
    else:
        mounts.append(_mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", access]))
    if host.cgroup_mode != "none" and host.cgroups_writable:
        # Over those of the host, too: a bound /sys is read-only, and what is mounted in it is not.
        options = [access, "nosuid", "noexec", "nodev", "relatime"]
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", options))
    shm = ["nosuid", "noexec", "nodev", "mode=1777", f"size={shm_bytes}"]
    if shared.get("ipc") == "" and os.path.isdir("/dev/mqueue"):
        mounts.append(_mount("/dev/mqueue", "bind", "/dev/mqueue", ["rbind", "nosuid", "noexec", "nodev"]))
    elif shared.get("ipc") != "" or not host.user_namespace:
        mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]))
    if shm_source is None:
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", shm))
    elif shm_source:
        mounts.append(_mount("/dev/shm", "bind", shm_source, ["rbind", "nosuid", "noexec", "nodev"]))
    return mounts


def bind(source: str, target: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """A bind mount, recursive unless ``options`` say ``bind``."""
    kind = [] if "bind" in options else ["rbind"]
    propagation = [] if any(option in _PROPAGATION for option in options) else ["rprivate"]
    return _mount(target, "bind", source, [*kind, *options, *propagation])


_PROPAGATION = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def build(
    process: Process,
    host: Host,
    *,
    rootfs: str = "rootfs",
    readonly: bool = False,
    network: str = "none",
    network_path: str = "",
    hostname: str = "",
    mounts: Iterable[Mapping[str, Any]] = (),
    resources: Mapping[str, Any] | None = None,
    cgroups_path: str = "",
    sysctl: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    shm_bytes: int = SHM_BYTES,
    privileged: bool = False,
    unmasked: bool = False,
    devices: Sequence[Mapping[str, Any]] = (),
    device_rules: Sequence[Mapping[str, Any]] = (),
    shared: Mapping[str, str] = _ALL_OWN,
    shm_source: str | None = None,
) -> dict[str, Any]:
    """The whole spec. ``network``: ``none`` (a namespace of its own) or ``host``; ``network_path``: the namespace that
    is joined instead of a new one with ``lo`` alone.

    ``privileged``: nothing of the host is hidden or read-only, all devices may be used; capabilities and seccomp are
    the caller's. ``unmasked``: nothing is hidden, no more than that. ``devices`` are nodes to be made (``device``),
    ``device_rules`` what else may be used. ``shared``: namespaces (``pid``, ``ipc``, ``uts``, ``cgroup``) that are not
    its own: "" is the host's, else the path of another's. ``shm_source`` as for ``base_mounts``.
    Raises Invalid, Denied.
    """
    if host.user_namespace and max(process.user_id, process.group_id) >= host.id_count:
        raise Denied(
            f"the user {process.user_id} and group {process.group_id} cannot be had here: this user has "
            f"{host.id_count} id{'s' if host.id_count > 1 else ''}",
            hint="See: cais system info. Ids are given to a user in /etc/subuid and /etc/subgid, and need newuidmap.",
            exit_code=125,
        )
    # Who can make a node for the host's disk, and has no control group that forbids to open it, has the disk.
    open_devices = not (host.cgroups_writable or host.user_namespace or privileged)
    capabilities = [
        name
        for name in process.capabilities
        if name in host.capabilities and not (open_devices and name == "CAP_MKNOD")
    ]
    # As Docker: a user other than root starts with an empty set, and may gain up to the bounding set by set-uid files.
    active = capabilities if process.user_id == 0 else []
    kinds = ["pid", "ipc", "uts", "mount"]
    if network == "none":
        kinds.append("network")
    if host.cgroup_mode != "none" and host.cgroups_writable:
        kinds.append("cgroup")
    namespaces = [{"type": kind} for kind in kinds if kind not in shared]
    namespaces += [{"type": kind, "path": path} for kind, path in shared.items() if path]
    if network_path:
        namespaces = [item for item in namespaces if item["type"] != "network"]
        namespaces.append({"type": "network", "path": network_path})
    linux: dict[str, Any] = {"namespaces": namespaces}
    if not privileged and not unmasked:
        linux.update(maskedPaths=list(MASKED_PATHS), readonlyPaths=list(READONLY_PATHS))
    if devices:
        linux["devices"] = [{name: item[name] for name in item if name != "access"} for item in devices]
    if host.cgroups_writable:
        rules = [*_device_rules(privileged, devices), *device_rules]
        linux["resources"] = {"devices": rules, **(resources or {})}
        if cgroups_path:
            linux["cgroupsPath"] = cgroups_path
    settings = dict(sysctl or {})
    if network == "none":
        settings.setdefault("net.ipv4.ip_unprivileged_port_start", "0")
        if not host.user_namespace:
            settings.setdefault("net.ipv4.ping_group_range", "0 2147483647")
    if settings:
        linux["sysctl"] = settings
    if host.seccomp is not None:
        linux["seccomp"] = host.seccomp
    user: dict[str, Any] = {"uid": process.user_id, "gid": process.group_id}
    if process.groups:
        user["additionalGids"] = [group for group in process.groups if group < host.id_count]
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": process.terminal,
            "user": user,
            "args": list(process.args),
            "env": list(process.env),
            "cwd": process.cwd,
            "capabilities": {"bounding": capabilities, "effective": active, "permitted": active, "inheritable": []},
            "noNewPrivileges": process.no_new_privileges,
        },
        "root": {"path": rootfs, "readonly": readonly},
        "mounts": [
            *base_mounts(
                host,
                network=network,
                shm_bytes=shm_bytes,
                writable=privileged,
                shared=shared,
                shm_source=shm_source,
            ),
            *mounts,
        ],
        "linux": linux,
    }
    if process.rlimits:
        spec["process"]["rlimits"] = [
            {"type": kind, "soft": soft, "hard": hard} for kind, soft, hard in process.rlimits
        ]
    for name, value in (
        ("oomScoreAdj", process.oom_score_adj),
        ("apparmorProfile", process.apparmor or None),
        ("selinuxLabel", process.selinux or None),
    ):
        if value is not None:
            spec["process"][name] = value
    if hostname and "uts" not in shared:
        spec["hostname"] = hostname
    if annotations:
        spec["annotations"] = dict(annotations)
    return spec


def _device_rules(privileged: bool, devices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "type": kind, "access": "rwm"} for kind in ("c", "b")]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for item in devices:
        rule = {name: item[name] for name in ("type", "major", "minor")}
        rules.append({"allow": True, **rule, "access": item.get("access", "rwm")})
    return rules


def device_rule(text: str) -> dict[str, Any]:
    """``c 1:* rwm`` (``--device-cgroup-rule``) for ``build``; ``*`` is every number."""
    kind, numbers, access = text.split(" ")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
        if number != "*":
            rule[name] = int(number)
    return rule


def device(path: str, kind: str, major: int, minor: int, access: str = "rwm", **more: int) -> dict[str, Any]:
    """A node for ``build``: ``kind`` is c or b; ``more`` may be fileMode, uid, gid."""
    return {"path": path, "type": kind, "major": major, "minor": minor, "access": access, **more}


def capability_names(
    base: Sequence[str], add: Sequence[str], drop: Sequence[str], allowed: frozenset[str]
) -> tuple[str, ...]:
    """``base`` with ``--cap-add`` and ``--cap-drop`` applied (``ALL`` is known). Raises Invalid for an unknown name."""
    added = [_capability(name) for name in add]
    dropped = [_capability(name) for name in drop]
    if "ALL" in added:
        names = [name for name in ALL_CAPABILITIES if name in allowed and name not in dropped]
    elif "ALL" in dropped:
        names = added
    else:
        names = [name for name in base if name not in dropped] + added
    return tuple(dict.fromkeys(names))


def _capability(text: str) -> str:
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else "CAP_" + name
    if name not in ALL_CAPABILITIES:
        raise Invalid(f"invalid CapAdd: unknown capability: {name!r}")
    return name


def merge_environment(base: Iterable[str], over: Iterable[str]) -> tuple[str, ...]:
    """``NAME=value`` lists: a later value takes the earlier one's place, new names follow; a bare NAME removes."""
    merged: dict[str, str] = {}
    for item in (*base, *over):
        name, equals, value = item.partition("=")
        if equals:
            merged[name] = value
        else:
            merged.pop(name, None)
    return tuple(f"{name}={value}" for name, value in merged.items())


def environment(own: Iterable[str], *, hostname: str, home: str, terminal: bool) -> tuple[str, ...]:
    """In Docker's order: PATH, HOSTNAME, TERM, the container's ``own``, HOME where nobody has set it to something."""
    defaults = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={hostname}"]
    if terminal:
        defaults.append("TERM=xterm")
    merged = tuple(item for item in merge_environment(defaults, own) if item != "HOME=")
    if not any(item.startswith("HOME=") for item in merged):
        merged = (*merged, f"HOME={home}")
    return merged
