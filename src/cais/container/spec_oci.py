"""The OCI runtime spec of a container, from its plan. Pure but for the limits that this process itself has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.container.plan import Plan, Resources
from cais.errors import Invalid
from cais.runtime import spec
from cais.runtime.network_files import NetworkFiles
from cais.runtime.spec import Host
from cais.runtime.users import User
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INIT_PATH = "/sbin/docker-init"
CPU_PERIOD_MICROSECONDS = 100_000


class Limits(NamedTuple):
    """What the host gave of what was asked for. ``warnings`` are lines for the user."""

    resources: dict[str, Any]
    warnings: tuple[str, ...] = ()


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
    hard_limits: Mapping[str, int] | None = None,
    console_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """``mounts`` are those of the plan, resolved; ``init`` the path of an init program of this host.

    ``hard_limits`` are this process's own, by name: nobody can be given more. ``console_size``: (rows, columns).
    """
    args = plan.args
    own = {mount["destination"] for mount in mounts}
    extra = [spec.bind(source, target, ("rw",)) for source, target in files.binds() if target not in own]
    if init:
        args = (INIT_PATH, "--", *args)
        extra.append(spec.bind(init, INIT_PATH, ("ro",)))
    process = spec.Process(
        args,
        environment(plan, user.home),
        plan.cwd,
        user.user_id,
        user.group_id,
        user.groups,
        plan.tty,
        plan.capabilities,
        plan.no_new_privileges,
        tuple(_clamped(limit, hard_limits or {}) for limit in plan.rlimits),
    )
    document = spec.build(
        process,
        host._replace(seccomp=seccomp),
        readonly=plan.readonly,
        network=plan.network,
        hostname=plan.hostname,
        # Parents first: a mount at /etc must not hide those below it.
        mounts=sorted([*extra, *mounts], key=lambda mount: str(mount["destination"]).count("/")),
        resources=limits.resources,
        cgroups_path=f"/cais/{id}",
        sysctl=dict(item.split("=", 1) for item in plan.sysctls),
        annotations=dict(item.split("=", 1) for item in plan.annotations),
        shm_bytes=plan.shm_bytes,
    )
    if plan.tty and console_size is not None and all(console_size):
        document["process"]["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    return document


def environment(plan: Plan, home: str) -> tuple[str, ...]:
    """In Docker's order: PATH, HOSTNAME, TERM, the image's and the options', HOME where nobody set it."""
    defaults = [f"PATH={spec.DEFAULT_PATH}", f"HOSTNAME={plan.hostname}"]
    if plan.tty:
        defaults.append("TERM=xterm")
    merged = spec.merge_environment(defaults, plan.env)
    if not any(item.startswith("HOME=") for item in merged):
        merged = (*merged, f"HOME={home}")
    return merged


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
    if (wanted.nano_cpus or wanted.cpu_shares) and has("cpu", "processor time"):
        if wanted.nano_cpus:
            cpu["quota"] = wanted.nano_cpus * CPU_PERIOD_MICROSECONDS // 1_000_000_000
            cpu["period"] = CPU_PERIOD_MICROSECONDS
        if wanted.cpu_shares:
            cpu["shares"] = wanted.cpu_shares
    if wanted.cpuset_cpus and has("cpuset", "the set of processors"):
        cpu["cpus"] = wanted.cpuset_cpus
    if cpu:
        resources["cpu"] = cpu
    if wanted.pids and has("pids", "the number of processes"):
        resources["pids"] = {"limit": wanted.pids}
    return Limits(resources, tuple(warnings))


_INFINITE = (1 << 64) - 1


def _clamped(limit: tuple[str, int, int], hard_limits: Mapping[str, int]) -> tuple[str, int, int]:
    """An rlimit within this process's own hard limit; -1 (unlimited) becomes what the kernel calls so."""
    name, soft, hard = limit
    ceiling = hard_limits.get(name, -1)
    ceiling = _INFINITE if ceiling < 0 else ceiling
    return (
        name,
        min(_INFINITE if soft < 0 else soft, ceiling),
        min(_INFINITE if hard < 0 else hard, ceiling),
    )


def check_cpus(wanted: Resources, count: int) -> None:
    """Raises Invalid where more processors are asked for than there are."""
    if wanted.nano_cpus > count * 1_000_000_000:
        raise Invalid(
            f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available", exit_code=125
        )
