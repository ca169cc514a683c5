"""Plan: what a container runs and how, from its image's config and the options. Pure; kept as JSON with the record."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from cais.container import mount_options, options
from cais.container.mount_options import MountPoint
from cais.container.options import RunOptions
from cais.errors import Invalid, Unsupported
from cais.runtime import spec
from cais.runtime.limits import Resources, memory_limits, parse_ulimit
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NETWORKS = ("none", "host")


class Plan(NamedTuple):
    """``entrypoint`` and ``command`` together are what runs. ``env`` is the image's with the options' over it.

    ``seccomp``: ``default``, ``unconfined`` or the path of a profile.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
    network: str = "none"
    tty: bool = False
    stdin: bool = False
    detach: bool = False
    capabilities: tuple[str, ...] = spec.DEFAULT_CAPABILITIES
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = "default"
    readonly: bool = False
    mounts: tuple[MountPoint, ...] = ()
    resources: Resources = Resources()
    rlimits: tuple[tuple[str, int, int], ...] = ()
    sysctls: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    shm_bytes: int = spec.SHM_BYTES
    init: bool = False
    labels: Mapping[str, str] = {}
    stop_signal: str = "SIGTERM"
    stop_timeout_seconds: int = 10
    sig_proxy: bool = True
    add_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        return (*self.entrypoint, *self.command)

    def to_json(self) -> dict[str, Any]:
        """Only what is not the default."""
        defaults = Plan()
        value = {}
        for name in self._fields:
            item = getattr(self, name)
            if item != getattr(defaults, name):
                value[name] = item
        if self.mounts:
            value["mounts"] = [mount._asdict() for mount in self.mounts]
        if self.resources != defaults.resources:
            value["resources"] = self.resources._asdict()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        known: dict[str, Any] = {}
        for key, item in value.items():
            if key not in cls._fields:
                continue
            if key == "mounts":
                item = tuple(_mount_point(mount) for mount in item)
            elif key == "resources":
                item = Resources(**item)
            elif key == "rlimits":
                item = tuple(tuple(limit) for limit in item)
            known[key] = tuple(item) if isinstance(item, list) else item
        return cls(**known)


def _mount_point(value: Mapping[str, Any]) -> MountPoint:
    known: dict[str, Any] = {}
    for name, part in value.items():
        known[name] = tuple(part) if isinstance(part, list) else part
    return MountPoint(**known)


def plan(run: Mapping[str, Any], wanted: RunOptions, id: str, directory: str = "") -> Plan:
    """``run`` is the image's ``config`` object, ``id`` the container's (its hostname), ``directory`` what relative
    paths start from. Raises Invalid, Unsupported."""
    _refuse(wanted)
    entrypoint, command = _command(run, wanted)
    # What was asked for stands before what the image adds, as in Docker.
    given = options.parse_environment(wanted)
    names = {item.partition("=")[0] for item in given}
    image = (item for item in run.get("Env") or () if item.partition("=")[0] not in names)
    environment = (*spec.merge_environment((), given), *image)
    labels = {**{key: str(text) for key, text in (run.get("Labels") or {}).items()}, **options.parse_labels(wanted)}
    no_new_privileges, seccomp = _security(wanted.security_opt)
    network = "none" if wanted.network in ("default", "") else wanted.network
    stop_signal = wanted.stop_signal or str(run.get("StopSignal") or "") or "SIGTERM"
    options.parse_signal(stop_signal)
    cwd = wanted.workdir or str(run.get("WorkingDir") or "") or "/"
    if not cwd.startswith("/"):
        raise Invalid(f"the working directory '{cwd}' is invalid, it needs to be an absolute path", exit_code=125)
    if wanted.hostname and (len(wanted.hostname) > 63 or any(c.isspace() or c == "/" for c in wanted.hostname)):
        raise Invalid(f"invalid hostname format: {wanted.hostname}", exit_code=125)
    return Plan(
        entrypoint,
        command,
        environment,
        "/" + posixpath.normpath(cwd).lstrip("/"),
        wanted.user or str(run.get("User") or ""),
        tuple(wanted.group_add),
        wanted.hostname or id[:12],
        network,
        wanted.tty,
        wanted.interactive,
        wanted.detach,
        spec.capability_names(
            spec.DEFAULT_CAPABILITIES, wanted.cap_add, wanted.cap_drop, frozenset(spec.ALL_CAPABILITIES)
        ),
        tuple(wanted.cap_add),
        tuple(wanted.cap_drop),
        no_new_privileges,
        seccomp,
        wanted.read_only,
        _mounts(run, wanted, directory),
        _resources(wanted),
        tuple(parse_ulimit(item) for item in wanted.ulimits),
        tuple(_pair(item, "--sysctl") for item in wanted.sysctls),
        tuple(_pair(item, "--annotation") for item in wanted.annotations),
        options.parse_bytes(wanted.shm_size, "shm-size") if wanted.shm_size else spec.SHM_BYTES,
        wanted.init,
        labels,
        stop_signal,
        10 if wanted.stop_timeout_seconds is None else wanted.stop_timeout_seconds,
        wanted.sig_proxy,
        tuple(wanted.add_hosts),
        tuple(wanted.dns),
        tuple(run.get("ExposedPorts") or ()),
    )


def _refuse(wanted: RunOptions) -> None:
    if wanted.publish:
        raise Unsupported(
            "publishing ports (-p, --publish) is not in this version",
            hint="With --network host the container's ports are the host's.",
            exit_code=125,
        )
    if wanted.network not in ("", "default", *NETWORKS):
        raise Unsupported(
            f"the network {wanted.network!r} is not in this version",
            hint="The networks of this version are none and host.",
            exit_code=125,
        )
    if wanted.privileged:
        raise Unsupported(
            "--privileged is not in this version",
            hint="--cap-add ALL --security-opt seccomp=unconfined gives all capabilities, without the host's devices.",
            exit_code=125,
        )


def _command(run: Mapping[str, Any], wanted: RunOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Docker's rules: an entrypoint of one's own drops the image's command; a command replaces the image's."""
    if wanted.entrypoint is not None:
        entrypoint = (wanted.entrypoint,) if wanted.entrypoint else ()
        command = tuple(wanted.command)
    else:
        entrypoint = tuple(run.get("Entrypoint") or ())
        command = tuple(wanted.command) or tuple(run.get("Cmd") or ())
    if not entrypoint and not command:
        raise Invalid(
            "no command specified",
            hint="The image has neither CMD nor ENTRYPOINT: give a command behind its name.",
            exit_code=125,
        )
    return entrypoint, command


def _security(values: Sequence[str]) -> tuple[bool, str]:
    no_new_privileges, seccomp = False, "default"
    for item in values:
        key, separator, value = item.partition("=" if "=" in item else ":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        elif key == "seccomp" and separator and value:
            seccomp = "default" if value == "builtin" else value
        elif key in ("label", "apparmor", "systempaths") and separator:
            raise Unsupported(f"--security-opt {key} is not in this version", exit_code=125)
        else:
            raise Invalid(f"invalid --security-opt 1: {item!r}", exit_code=125)
    return no_new_privileges, seccomp


def _mounts(run: Mapping[str, Any], wanted: RunOptions, directory: str) -> tuple[MountPoint, ...]:
    points = [
        *(mount_options.parse_volume(item, directory) for item in wanted.volumes),
        *(mount_options.parse_mount(item) for item in wanted.mounts),
        *(mount_options.parse_tmpfs(item) for item in wanted.tmpfs),
    ]
    targets: set[str] = set()
    for point in points:
        if point.target in targets:
            raise Invalid(f"Duplicate mount point: {point.target}", exit_code=125)
        targets.add(point.target)
    for path in run.get("Volumes") or ():
        target = posixpath.normpath("/" + str(path).lstrip("/"))
        if target != "/" and target not in targets:
            targets.add(target)
            points.append(MountPoint("volume", "", target, anonymous=True))
    # Parents first: what is mounted at /a must not hide what is mounted at /a/b.
    return tuple(sorted(points, key=lambda point: point.target.count("/")))


def _resources(wanted: RunOptions) -> Resources:
    memory = options.parse_bytes(wanted.memory, "memory") if wanted.memory else 0
    swap = 0
    if wanted.memory_swap:
        swap = -1 if wanted.memory_swap == "-1" else options.parse_bytes(wanted.memory_swap, "memory-swap")
    memory, swap = memory_limits(memory, swap)
    if wanted.pids_limit < -1:
        raise Invalid(f'invalid argument "{wanted.pids_limit}" for "--pids-limit" flag', exit_code=125)
    return Resources(
        memory,
        swap,
        options.parse_bytes(wanted.memory_reservation, "memory-reservation") if wanted.memory_reservation else 0,
        options.parse_cpus(wanted.cpus) if wanted.cpus else 0,
        wanted.cpu_shares,
        wanted.cpuset_cpus,
        max(wanted.pids_limit, 0),
    )


def _pair(text: str, flag: str) -> str:
    key, equals, _ = text.partition("=")
    if not key or not equals:
        raise Invalid(f'invalid argument "{text}" for "{flag}" flag: it is not key=value', exit_code=125)
    return text
