"""What the options of ``image build`` say about every RUN: network, hosts, entitlements, limits."""

from __future__ import annotations

from collections.abc import Sequence

from cais.build.lowering.process import HOST_GATEWAY, RunSettings
from cais.engine.build_options import BuildOptions
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.ops.step_settings import StepSettings

_ENTITLEMENTS = ("network.host", "security.insecure", "device")
_HOSTNAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


def check_settings(options: BuildOptions) -> None:
    """What is wrong with them is said before a build begins, as buildx does. Raises Invalid, NotFound (a secret)."""
    run_settings(options)
    if options.secrets or options.ssh:
        from cais.engine.build_credentials import credentials

        credentials(options.secrets, options.ssh, options.environment)
    if any(options.limits):
        step_settings(options)


def run_settings(options: BuildOptions) -> RunSettings:
    """What lowering has to know. Raises Invalid."""
    for text in options.allow:
        if text not in _ENTITLEMENTS and not text.startswith("device="):
            raise Invalid(f"unknown entitlement {text}", hint=f"Entitlements are {', '.join(_ENTITLEMENTS)}.")
    hostname = options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME", "")
    if not set(hostname) <= _HOSTNAME_CHARACTERS or len(hostname) > 64:
        raise Invalid(f"invalid hostname {hostname!r}", hint="It has up to 64 letters, digits, dots and dashes.")
    return RunSettings(options.network or "default", hosts(options.add_hosts), tuple(options.allow), hostname)


def hosts(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``name:address``, ``name=address``, the address in brackets or ``host-gateway``. Raises Invalid."""
    found = []
    for text in texts:
        name, _, address = text.partition("=" if "=" in text else ":")
        address = address.removeprefix("[").removesuffix("]")
        if not name or any(character.isspace() for character in name) or not _is_address(address):
            raise Invalid(f"invalid host {text}", hint="A host is given as name=address.")
        found.append((name, address))
    return tuple(found)


def _is_address(text: str) -> bool:
    if text == HOST_GATEWAY:
        return True
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def step_settings(options: BuildOptions) -> StepSettings:
    """What running has to know. Raises Invalid."""
    from cais.build.ops.step_settings import StepSettings
    from cais.runtime.limits import Resources, memory_limits
    from cais.runtime.ulimits import parse_ulimit

    wanted = options.limits
    for name in ("cpu_shares", "cpu_period_microseconds", "cpu_quota_microseconds", "shm_bytes", "memory_bytes"):
        value = getattr(wanted, name)
        if value < 0 and not (name == "cpu_quota_microseconds" and value == -1):
            flag = (
                name.removesuffix("_microseconds").removesuffix("_bytes").replace("_", "-").replace("shm", "shm-size")
            )
            raise Invalid(f'invalid argument "{value}" for "--{flag}" flag: it is negative', exit_code=125)
    memory, swap = memory_limits(wanted.memory_bytes, wanted.memory_swap_bytes)
    resources = Resources(
        memory,
        swap,
        cpu_shares=wanted.cpu_shares,
        cpuset_cpus=wanted.cpuset_cpus,
        cpuset_mems=wanted.cpuset_mems,
        cpu_period_microseconds=wanted.cpu_period_microseconds,
        cpu_quota_microseconds=wanted.cpu_quota_microseconds,
    )
    parent = wanted.cgroup_parent
    if ".." in parent.split("/"):
        raise Invalid(f"invalid cgroup parent {parent!r}", hint="It is a path below the root of the control groups.")
    settings = StepSettings(
        resources,
        rlimits=tuple(parse_ulimit(text) for text in wanted.ulimits),
        cgroup_parent=f"/{parent.strip('/')}" if parent.strip("/") else "",
        allowed=tuple(options.allow),
    )
    return settings._replace(shm_bytes=wanted.shm_bytes) if wanted.shm_bytes else settings
