"""The OCI runtime spec of a container, from its plan. Pure but for the limits that this process itself has."""

from __future__ import annotations

from cais.container.plan import Plan
from cais.runtime import spec
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cais.runtime.limits import Limits
    from cais.runtime.network_files import NetworkFiles
    from cais.runtime.spec import Host
    from cais.runtime.users import User

INIT_PATH = "/sbin/docker-init"


class Surroundings(NamedTuple):
    """What a plan means on a host: ``shared`` and ``shm_source`` as for ``spec.build``; ``warnings`` for the user."""

    shared: Mapping[str, str] = {}
    shm_source: str | None = None
    devices: tuple[dict[str, Any], ...] = ()
    device_rules: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    env: tuple[str, ...] = ()
    hooks: Mapping[str, Any] = {}
    apparmor: str = ""
    selinux: str = ""
    oom_score_adj: int | None = None
    warnings: tuple[str, ...] = ()


_NOTHING = Surroundings()


def build_spec(
    plan: Plan,
    host: Host,
    user: User,
    files: NetworkFiles,
    mounts: Sequence[Mapping[str, Any]],
    *,
    id: str,
    limits: Limits,
    seccomp: dict[str, Any] | None,
    init: str = "",
    network: str = "none",
    network_path: str = "",
    hard_limits: Mapping[str, int] | None = None,
    console_size: tuple[int, int] | None = None,
    around: Surroundings = _NOTHING,
) -> dict[str, Any]:
    """``mounts`` are those of the plan, resolved; ``init`` the path of an init program of this host.

    ``hard_limits`` are this process's own, by name: nobody can be given more. ``console_size``: (rows, columns).
    """
    args = plan.args
    own = {mount["destination"] for mount in mounts}
    access = "ro" if plan.readonly else "rw"
    extra = [spec.bind(source, target, (access,)) for source, target in files.binds() if target not in own]
    if init:
        args = (INIT_PATH, "--", *args)
        extra.append(spec.bind(init, INIT_PATH, ("ro",)))
    process = spec.Process(
        args,
        spec.merge_environment(
            spec.environment(plan.env, hostname=plan.hostname, home=user.home, terminal=plan.tty), around.env
        ),
        plan.cwd,
        user.user_id,
        user.group_id,
        user.groups,
        plan.tty,
        plan.capabilities,
        plan.no_new_privileges,
        _rlimits(plan, hard_limits or {}),
        around.oom_score_adj,
        around.apparmor,
        around.selinux,
    )
    document = spec.build(
        process,
        host._replace(seccomp=seccomp),
        readonly=plan.readonly,
        network=network,
        network_path=network_path,
        hostname=plan.hostname,
        # Parents first: a mount at /etc must not hide those below it.
        mounts=sorted([*extra, *around.mounts, *mounts], key=lambda mount: str(mount["destination"]).count("/")),
        resources=limits.resources,
        cgroups_path=cgroups_path(plan, id),
        sysctl=dict(item.split("=", 1) for item in plan.sysctls),
        annotations=dict(item.partition("=")[::2] for item in plan.annotations),
        shm_bytes=plan.shm_bytes,
        privileged=plan.security.privileged,
        unmasked=plan.security.unmasked,
        devices=around.devices,
        device_rules=around.device_rules,
        shared=around.shared,
        shm_source=around.shm_source,
    )
    if plan.networking.domainname:
        document["domainname"] = plan.networking.domainname
    if around.hooks:
        document["hooks"] = dict(around.hooks)
    if plan.tty and console_size is not None and all(console_size):
        document["process"]["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    return document


def _rlimits(plan: Plan, hard_limits: Mapping[str, int]) -> tuple[tuple[str, int, int], ...]:
    if not plan.rlimits:
        return ()
    from cais.runtime.ulimits import clamped

    return tuple(clamped(limit, hard_limits) for limit in plan.rlimits)


def cgroups_path(plan: Plan, id: str) -> str:
    """Where the control groups of the container ``id`` are, below those of this process's host or namespace."""
    return f"/{plan.cgroup_parent.strip('/') or 'cais'}/{id}"
