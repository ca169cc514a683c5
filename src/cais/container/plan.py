"""Plan: what a container runs and how, from its image's config and the options. Pure; kept as JSON with the record."""

from __future__ import annotations

import os
import posixpath

from cais.container import options, restart
from cais.container.isolation import Devices, Namespaces, Security
from cais.container.networking import DEFAULT, Attachment, Networking
from cais.container.options import RunOptions
from cais.container.restart import RestartPolicy
from cais.errors import Invalid, NotFound
from cais.runtime import spec
from cais.runtime.limits import Resources
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from cais.container.health import HealthCheck
    from cais.container.log_options import LogOptions
    from cais.container.mount_options import MountPoint


# Fields that are values of their own.
_VALUES: Mapping[str, Any] = {
    "security": Security,
    "namespaces": Namespaces,
    "devices": Devices,
    "restart": RestartPolicy,
    "networking": Networking,
}

_PLAIN = (Security(), Namespaces(), Devices(), 0)


class Plan(NamedTuple):
    """``entrypoint`` and ``command`` together are what runs. ``env`` is the image's with the options' over it.

    ``seccomp``: ``default``, ``unconfined``, ``profile`` (``security`` has its text), or the path of one.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
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
    volume_driver: str = ""
    volumes_from: tuple[str, ...] = ()
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
    networking: Networking = Networking()
    restart: RestartPolicy = RestartPolicy()
    health: HealthCheck | None = None
    log: LogOptions | None = None
    security: Security = Security()
    namespaces: Namespaces = Namespaces()
    devices: Devices = Devices()
    oom_score_adj: int = 0
    cgroup_parent: str = ""
    runtime: str = ""
    isolation: str = ""
    cidfile: str = ""
    storage_opts: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        return (*self.entrypoint, *self.command)

    @property
    def is_plain(self) -> bool:
        """Whether nothing of the host is asked for but what every container has."""
        return (self.security, self.namespaces, self.devices, self.oom_score_adj) == _PLAIN

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
        for name in (*_VALUES, "health", "log"):
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
                item = Resources.from_json(item)
            elif key == "health":
                from cais.container.health import HealthCheck

                item = HealthCheck.from_json(item)
            elif key == "log":
                from cais.container.log_options import LogOptions

                item = LogOptions.from_json(item)
            elif key in _VALUES:
                item = _VALUES[key].from_json(item)
            elif key == "rlimits":
                item = tuple(tuple(limit) for limit in item)
            known[key] = tuple(item) if isinstance(item, list) else item
        if "network" in value:  # before containers had more networks than none and host
            known["networking"] = Networking(mode=value["network"])
        return cls(**known)


def _mount_point(value: Mapping[str, Any]) -> MountPoint:
    from cais.container.mount_options import MountPoint

    known: dict[str, Any] = {}
    for name, part in value.items():
        known[name] = tuple(part) if isinstance(part, list) else part
    return MountPoint(**known)


def _unknown_container(name: str, kind: str) -> str:
    raise NotFound(f"No such container: {name}", exit_code=125)


def plan(
    run: Mapping[str, Any],
    wanted: RunOptions,
    id: str,
    directory: str = "",
    find_container: Callable[[str, str], str] = _unknown_container,
    inherited: Sequence[MountPoint] = (),
) -> Plan:
    """``run`` is the image's ``config`` object, ``id`` the container's (its hostname), ``directory`` what relative
    paths start from; ``find_container(name, kind)`` gives the id of another container whose namespace of that
    kind is joined; ``inherited`` are the mounts of other containers (--volumes-from). Raises Invalid, NotFound,
    Unsupported."""
    entrypoint, command = _command(run, wanted)
    # What was asked for stands before what the image adds, as in Docker.
    given = options.parse_environment(wanted)
    names = {item.partition("=")[0] for item in given}
    image = (item for item in run.get("Env") or () if item.partition("=")[0] not in names)
    merged = spec.merge_environment((), given)
    # A name alone takes away what every container has (PATH, HOSTNAME, TERM), too, and so has to be known.
    environment = (*merged, *sorted(names.difference(item.partition("=")[0] for item in merged)), *image)
    labels = {**{key: str(text) for key, text in (run.get("Labels") or {}).items()}, **options.parse_labels(wanted)}
    own = _namespaces(wanted, find_container)
    networks = _networking(run, wanted)
    keeps_name = own.uts == "host" or networks.mode == "host"
    stop_signal = wanted.stop_signal or str(run.get("StopSignal") or "") or "SIGTERM"
    options.parse_signal(stop_signal)
    cwd = wanted.workdir or str(run.get("WorkingDir") or "") or "/"
    if not cwd.startswith("/"):
        raise Invalid(f"the working directory '{cwd}' is invalid, it needs to be an absolute path", exit_code=125)
    return Plan(
        entrypoint=entrypoint,
        command=command,
        env=environment,
        cwd="/" + posixpath.normpath(cwd).lstrip("/"),
        user=wanted.user or str(run.get("User") or ""),
        group_add=tuple(wanted.group_add),
        hostname=wanted.hostname or (os.uname().nodename if keeps_name else id[:12]),
        networking=networks,
        tty=wanted.tty,
        stdin=wanted.interactive,
        detach=wanted.detach,
        cap_add=_capability_names(wanted.cap_add),
        cap_drop=_capability_names(wanted.cap_drop),
        readonly=wanted.read_only,
        mounts=_mounts(run.get("Volumes") or (), wanted, directory, inherited),
        volume_driver=wanted.volume_driver,
        volumes_from=tuple(wanted.volumes_from),
        rlimits=_rlimits(wanted),
        annotations=tuple(_annotation(item) for item in wanted.annotations),
        shm_bytes=options.parse_bytes(wanted.shm_size or "0", "shm-size") or spec.SHM_BYTES,
        init=wanted.init,
        labels=labels,
        stop_signal=stop_signal,
        stop_timeout_seconds=10 if wanted.stop_timeout_seconds is None else wanted.stop_timeout_seconds,
        sig_proxy=wanted.sig_proxy,
        restart=restart.for_run(wanted.restart, auto_remove=wanted.remove),
        health=_health(run, wanted),
        log=_log(wanted),
        namespaces=own,
        oom_score_adj=_oom_score(wanted.oom_score_adj),
        cgroup_parent=_cgroup_parent(wanted.cgroup_parent),
        runtime=wanted.runtime,
        isolation=wanted.isolation,
        cidfile=wanted.cidfile,
        storage_opts=_storage_opts(wanted),
        attach=tuple(name.lower() for name in wanted.attach),
        **_asked_for(wanted, networks.mode, own.ipc),
    )


def _networking(run: Mapping[str, Any], wanted: RunOptions) -> Networking:
    mode = wanted.networks[0] if wanted.networks else DEFAULT
    simple = len(wanted.networks) < 2 and mode in (DEFAULT, "host", "none") and not run.get("ExposedPorts")
    if simple and not _is_given(wanted, _NETWORKS):
        return Networking(mode, (Attachment(mode),) if mode == DEFAULT else ())
    from cais.container.network_options import networking

    return networking(wanted, tuple(run.get("ExposedPorts") or ()))


def _log(wanted: RunOptions) -> LogOptions | None:
    if not wanted.log_driver and not wanted.log_opts:
        return None
    from cais.container import log_options

    return log_options.parse(wanted.log_driver, wanted.log_opts)


def _health(run: Mapping[str, Any], wanted: RunOptions) -> HealthCheck | None:
    if (
        not run.get("Healthcheck")
        and not wanted.no_healthcheck
        and not any(getattr(wanted, field) for field in RunOptions._fields if field.startswith("health_"))
    ):
        return None
    from cais.container import health

    return health.check_for(run, wanted)


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


def _mounts(
    volumes: Iterable[str], wanted: RunOptions, directory: str, inherited: Sequence[MountPoint]
) -> tuple[MountPoint, ...]:
    if not (volumes or inherited or wanted.volumes or wanted.mounts or wanted.tmpfs):
        return ()
    from cais.container.mount_plan import plan_mounts

    return plan_mounts(volumes, wanted, directory, inherited)


def _capability_names(given: Sequence[str]) -> tuple[str, ...]:
    """In the one form that Docker's client gives them."""
    names = (name.upper() for name in given)
    return tuple(sorted({name if name == "ALL" or name.startswith("CAP_") else "CAP_" + name for name in names}))


# Fields of RunOptions by the module that reads them: it is loaded where one is given.
_SECURITY = ("privileged", "cap_add", "cap_drop", "security_opt", "sysctls", "isolation", "use_api_socket")
_DEVICES = ("devices", "device_cgroup_rules", "gpus")
_NAMESPACES = ("pid", "ipc", "uts", "userns", "cgroupns")
_NETWORKS = (
    "publish", "publish_all", "expose", "network_aliases", "links", "ip", "ip6", "link_local_ips", "mac_address", "dns",
    "dns_options", "dns_search", "add_hosts", "hostname", "domainname",
)  # fmt: skip
_RESOURCES = (
    "memory", "memory_swap", "memory_reservation", "memory_swappiness", "cpus", "cpu_shares", "cpuset_cpus",
    "cpuset_mems", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "pids_limit", "oom_kill_disable",
    "blkio_weight", "blkio_weight_devices", "device_read_bps", "device_write_bps", "device_read_iops",
    "device_write_iops",
)  # fmt: skip


def _is_given(wanted: RunOptions, fields: Iterable[str]) -> bool:
    defaults = RunOptions._field_defaults
    return any((given := getattr(wanted, name)) != defaults[name] and given not in ([], ()) for name in fields)


def _namespaces(wanted: RunOptions, find_container: Callable[[str, str], str]) -> Namespaces:
    if not _is_given(wanted, _NAMESPACES):
        return Namespaces()
    from cais.container.namespaces import namespaces

    return namespaces(wanted, find_container)


def _asked_for(wanted: RunOptions, network: str, ipc: str) -> dict[str, Any]:
    """Fields of a plan that few containers have."""
    fields: dict[str, Any] = {}
    if _is_given(wanted, _SECURITY):
        from cais.container import security

        fields = security.decide(wanted, network=network, ipc=ipc)
    if _is_given(wanted, _DEVICES):
        from cais.container.devices import devices

        fields["devices"] = devices(wanted)
    if _is_given(wanted, _RESOURCES):
        from cais.container.resources import resources

        fields["resources"] = resources(wanted)
    return fields


def _rlimits(wanted: RunOptions) -> tuple[tuple[str, int, int], ...]:
    if not wanted.ulimits:
        return ()
    from cais.runtime.ulimits import parse_ulimit

    return tuple(parse_ulimit(item) for item in wanted.ulimits)


def _storage_opts(wanted: RunOptions) -> tuple[str, ...]:
    if not wanted.storage_opts:
        return ()
    from cais.container import storage

    return storage.check(wanted.storage_opts)


def _oom_score(value: int) -> int:
    if not -1000 <= value <= 1000:
        raise Invalid(f"Invalid value {value}, range for oom score adj is [-1000, 1000]", exit_code=125)
    return value


def _cgroup_parent(path: str) -> str:
    if "\0" in path:
        raise Invalid(f"invalid cgroup parent {path!r}: it has a null character", exit_code=125)
    # As a path from the root on: what leads out of it stays there.
    return posixpath.normpath(f"/{path}").lstrip("/") if ".." in path.split("/") else path


def _annotation(text: str) -> str:
    if not text.partition("=")[0]:
        raise Invalid("invalid Annotations: the empty string is not permitted as an annotation key", exit_code=125)
    return text
