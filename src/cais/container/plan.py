"""Plan: what a container runs and how, from its image's config and the options. Pure; kept as JSON with the record."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from cais.container import mount_options, options, restart
from cais.container.mount_options import MountPoint
from cais.container.options import RunOptions
from cais.container.restart import RestartPolicy
from cais.errors import Invalid, Unsupported
from cais.runtime import spec
from cais.runtime.limits import Resources, memory_limits, parse_ulimit
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.container.health import HealthCheck

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
    restart: RestartPolicy = RestartPolicy()
    health: HealthCheck | None = None

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
        for name in ("restart", "health"):
            if name in value:
                value[name] = value[name].to_json()
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
            elif key == "restart":
                item = RestartPolicy.from_json(item)
            elif key == "health":
                from cais.container.health import HealthCheck

                item = HealthCheck.from_json(item)
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
    network = wanted.networks[0] if wanted.networks and wanted.networks[0] != "default" else "none"
    stop_signal = wanted.stop_signal or str(run.get("StopSignal") or "") or "SIGTERM"
    options.parse_signal(stop_signal)
    cwd = wanted.workdir or str(run.get("WorkingDir") or "") or "/"
    if not cwd.startswith("/"):
        raise Invalid(f"the working directory '{cwd}' is invalid, it needs to be an absolute path", exit_code=125)
    if wanted.hostname and (len(wanted.hostname) > 63 or any(c.isspace() or c == "/" for c in wanted.hostname)):
        raise Invalid(f"invalid hostname format: {wanted.hostname}", exit_code=125)
    return Plan(
        entrypoint=entrypoint,
        command=command,
        env=environment,
        cwd="/" + posixpath.normpath(cwd).lstrip("/"),
        user=wanted.user or str(run.get("User") or ""),
        group_add=tuple(wanted.group_add),
        hostname=wanted.hostname or id[:12],
        network=network,
        tty=wanted.tty,
        stdin=wanted.interactive,
        detach=wanted.detach,
        capabilities=spec.capability_names(
            spec.DEFAULT_CAPABILITIES, wanted.cap_add, wanted.cap_drop, frozenset(spec.ALL_CAPABILITIES)
        ),
        cap_add=tuple(wanted.cap_add),
        cap_drop=tuple(wanted.cap_drop),
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        readonly=wanted.read_only,
        mounts=_mounts(run, wanted, directory),
        resources=_resources(wanted),
        rlimits=tuple(parse_ulimit(item) for item in wanted.ulimits),
        sysctls=tuple(_pair(item, "--sysctl") for item in wanted.sysctls),
        annotations=tuple(_pair(item, "--annotation") for item in wanted.annotations),
        shm_bytes=options.parse_bytes(wanted.shm_size, "shm-size") if wanted.shm_size else spec.SHM_BYTES,
        init=wanted.init,
        labels=labels,
        stop_signal=stop_signal,
        stop_timeout_seconds=10 if wanted.stop_timeout_seconds is None else wanted.stop_timeout_seconds,
        sig_proxy=wanted.sig_proxy,
        add_hosts=tuple(wanted.add_hosts),
        dns=tuple(wanted.dns),
        exposed_ports=tuple(run.get("ExposedPorts") or ()),
        restart=restart.for_run(wanted.restart, auto_remove=wanted.remove),
        health=_health(run, wanted),
    )


def _health(run: Mapping[str, Any], wanted: RunOptions) -> HealthCheck | None:
    if (
        not run.get("Healthcheck")
        and not wanted.no_healthcheck
        and not any(getattr(wanted, field) for field in RunOptions._fields if field.startswith("health_"))
    ):
        return None
    from cais.container import health

    return health.check_for(run, wanted)


# What this version does not do yet: fields of RunOptions by the flag they come from.
_NOT_YET = {
    "attach": "attach", "publish": "publish", "publish_all": "publish-all", "expose": "expose",
    "network_aliases": "network-alias",
    "links": "link", "ip": "ip", "ip6": "ip6", "link_local_ips": "link-local-ip", "mac_address": "mac-address",
    "dns_options": "dns-option", "dns_search": "dns-search", "domainname": "domainname", "pid": "pid", "ipc": "ipc",
    "uts": "uts", "userns": "userns", "cgroupns": "cgroupns", "cgroup_parent": "cgroup-parent",
    "blkio_weight": "blkio-weight", "blkio_weight_devices": "blkio-weight-device", "cpu_period": "cpu-period",
    "cpu_quota": "cpu-quota", "cpu_rt_period": "cpu-rt-period", "cpu_rt_runtime": "cpu-rt-runtime",
    "cpuset_mems": "cpuset-mems", "memory_swappiness": "memory-swappiness", "oom_kill_disable": "oom-kill-disable",
    "oom_score_adj": "oom-score-adj", "devices": "device", "device_cgroup_rules": "device-cgroup-rule",
    "device_read_bps": "device-read-bps", "device_read_iops": "device-read-iops",
    "device_write_bps": "device-write-bps", "device_write_iops": "device-write-iops", "gpus": "gpus",
    "privileged": "privileged", "health_cmd": "health-cmd", "health_interval_nanoseconds": "health-interval",
    "health_timeout_nanoseconds": "health-timeout", "health_start_period_nanoseconds": "health-start-period",
    "health_start_interval_nanoseconds": "health-start-interval", "health_retries": "health-retries",
    "no_healthcheck": "no-healthcheck", "log_driver": "log-driver", "log_opts": "log-opt",
    "runtime": "runtime", "storage_opts": "storage-opt", "volume_driver": "volume-driver",
    "volumes_from": "volumes-from", "use_api_socket": "use-api-socket", "isolation": "isolation",
    "detach_keys": "detach-keys",
}  # fmt: skip


def _refuse(wanted: RunOptions) -> None:
    for field, default in RunOptions._field_defaults.items():
        if field in _NOT_YET and getattr(wanted, field) != default and getattr(wanted, field) not in ([], ()):
            raise Unsupported(f"--{_NOT_YET[field]} is not supported by this version of cais", exit_code=125)
    if wanted.networks and wanted.networks[0] not in ("", "default", *NETWORKS):
        raise Unsupported(
            f"the network {wanted.networks[0]!r} is not in this version",
            hint="The networks of this version are none and host.",
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
