"""Containers as people and scripts see them: rows of ``ls``, Docker's JSON of ``inspect``. Pure."""

from __future__ import annotations

from cais.container.networking import Networking
from cais.container.records import ContainerRecord
from cais.container.state import State
from cais.errors import Invalid
from cais.spec import timestamp
from cais.spec.duration import human_duration
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cais.container.plan import Plan
    from cais.container.published import Published
    from cais.network.records import PublishedPort

NEVER = "0001-01-01T00:00:00Z"


class ContainerSummary(NamedTuple):
    """One row of ``container ls``. ``created`` is in seconds since 1970; ``status`` is the sentence people read."""

    id: str
    name: str
    image: str
    image_id: str
    command: str
    created: float
    state: str
    status: str
    exit_code: int
    labels: Mapping[str, str]
    mounts: tuple[str, ...]
    networks: tuple[str, ...]
    ports: str
    volumes: tuple[str, ...] = ()
    started: float = 0.0
    finished: float = 0.0
    health: str = ""
    published: tuple[Published, ...] = ()
    targets: tuple[str, ...] = ()


def summary(
    record: ContainerRecord, state: State, now: float, health: str = "", published: Sequence[PublishedPort] = ()
) -> ContainerSummary:
    """``health``: what its checks have found, "" where it has none; ``published``: its ports of the host."""
    plan = record.plan  # as it is kept: a long list has no use for all that a Plan checks and fills in
    networking = Networking.from_json(plan.get("networking", {"mode": plan.get("network", "none")}))
    points = plan.get("mounts", ())
    words = (*plan.get("entrypoint", ()), *plan.get("command", ()))
    ports: tuple[Published, ...] = ()
    text = ""
    if state.lives and (published or networking.exposed):
        from cais.container.network_view import ports as ports_of
        from cais.container.published import display

        ports = ports_of(networking, published)
        text = display(ports)
    return ContainerSummary(
        record.id,
        record.name,
        record.image_name,
        record.image_id,
        " ".join(f"'{word}'" if index and " " in word else word for index, word in enumerate(words)),
        record.created,
        state.status,
        status_text(record, state, now, health),
        state.exit_code,
        plan.get("labels", {}),
        tuple(
            point["target"] if point["kind"] == "tmpfs" else point["source"]
            for point in points
            if point.get("origin") != "tmpfs"  # as Docker: what --tmpfs gives is no mount of a list
        ),
        networking.names,
        text,
        tuple(point["source"] for point in points if point["kind"] == "volume"),
        record.started,
        state.finished,
        health,
        ports,
        tuple(point["target"] for point in points),
    )


def status_text(record: ContainerRecord, state: State, now: float, health: str = "") -> str:
    """``Up 3 minutes``, ``Up 3 minutes (healthy)``, ``Exited (0) 2 hours ago``, ``Created``."""
    if state.lives:
        more = ""
        if state.status == "paused":
            more = " (Paused)"
        elif health:
            more = " (health: starting)" if health == "starting" else f" ({health})"
        return f"Up {human_duration(now - record.started)}{more}"
    if state.status == "restarting":
        return f"Restarting ({state.exit_code}) {human_duration(now - state.finished)} ago"
    if state.status == "removing":
        return "Removal In Progress"
    if state.status == "exited":
        return f"Exited ({state.exit_code}) {human_duration(now - state.finished)} ago"
    return "Created"


LIST_KEYS = frozenset(
    (
        "id", "name", "label", "status", "exited", "ancestor", "before", "since", "volume", "network", "health",
        "publish", "expose", "is-task",
    )
)  # fmt: skip
# Nothing here is a task of a swarm.
_TRUTHS = {"true": True, "1": True, "True": True, "false": False, "0": False, "False": False}
_STATUSES = frozenset(("created", "restarting", "running", "removing", "paused", "exited", "dead"))
_HEALTH = frozenset(("none", "starting", "healthy", "unhealthy"))


def check_filters(filters: Mapping[str, Sequence[str]], keys: frozenset[str] = LIST_KEYS) -> None:
    """Raises Invalid with Docker's words."""
    for key, values in filters.items():
        if key not in keys:
            raise Invalid(f"invalid filter '{key}'")
        for value in values:
            if key in ("publish", "expose"):
                from cais.container.network_view import parse_port_filter

                parse_port_filter(value, key)
            if key == "status" and value not in _STATUSES:
                raise Invalid(f"invalid filter 'status={value}'")
            if key == "health" and value not in _HEALTH:
                raise Invalid(f"unrecognized filter value for health: {value}")
            if key == "exited" and not value.lstrip("-").isdigit():
                raise Invalid(f"invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax")
            if key == "is-task" and value not in _TRUTHS:
                raise Invalid(f"invalid filter 'is-task=[{value}]'")


def passes(
    row: ContainerSummary,
    filters: Mapping[str, Sequence[str]],
    before: float | None,
    since: float | None,
    ancestors: Sequence[str],
) -> bool:
    """Whether a row fits: values of one key are alternatives (labels are not), keys hold together."""

    def one_of(key: str, fits: Any) -> bool:
        return key not in filters or any(fits(value) for value in filters[key])

    if any(_TRUTHS[value] for value in filters.get("is-task", ())):
        return False
    for text in filters.get("label", ()):
        key, equals, value = text.partition("=")
        if key not in row.labels or (equals and row.labels[key] != value):
            return False
    if before is not None and row.created >= before:
        return False
    if since is not None and row.created <= since:
        return False
    if ("publish" in filters or "expose" in filters) and not _has_port(row, filters):
        return False
    return (
        one_of("id", lambda value: row.id.startswith(value))
        and one_of("name", lambda value: _name_fits(value, row.name))
        and one_of("status", lambda value: row.state == value)
        and one_of("health", lambda value: (row.health or "none") == value)
        and one_of("exited", lambda value: row.state == "exited" and row.exit_code == int(value))
        and one_of("volume", lambda value: value in row.mounts or value in row.targets)
        and one_of("network", lambda value: value in row.networks)
        and ("ancestor" not in filters or row.image_id in ancestors or row.image in filters["ancestor"])
    )


def _has_port(row: ContainerSummary, filters: Mapping[str, Sequence[str]]) -> bool:
    from cais.container.network_view import parse_port_filter

    published = {f"{port.host_port}/{port.protocol}" for port in row.published}
    inside = {f"{port.port}/{port.protocol}" for port in row.published}
    return any(
        target in known
        for key, known in (("publish", published), ("expose", inside))
        for text in filters.get(key, ())
        for target in parse_port_filter(text, key)
    )


def _name_fits(pattern: str, name: str) -> bool:
    from cais.spec.name_filter import matches

    return matches(pattern, name, f"/{name}")


def inspect(
    record: ContainerRecord,
    state: State,
    *,
    log_path: str,
    directory: str,
    volume_paths: Mapping[str, str],
    runtime: str = "",
    cgroup_namespace: str = "private",
) -> dict[str, Any]:
    """Docker's JSON. ``volume_paths``: where each volume's files are; the others as for ``host_config.isolation``."""
    from cais.container import host_config, mount_views, network_view
    from cais.container.plan import Plan

    plan = Plan.from_json(record.plan)
    args = plan.args
    return {
        "Id": record.id,
        "Created": timestamp.format(record.created),
        "Path": args[0] if args else "",
        "Args": list(args[1:]),
        "State": {
            "Status": state.status,
            "Running": state.is_up,
            "Paused": state.status == "paused",
            "Restarting": state.status == "restarting",
            "OOMKilled": state.oom_killed,
            "Dead": False,
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": record.error,
            "StartedAt": timestamp.format(record.started) if record.started else NEVER,
            "FinishedAt": timestamp.format(state.finished) if state.finished else NEVER,
        },
        "Image": record.image_id,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": log_path if plan.log is None or plan.log.has_file else "",
        "Name": "/" + record.name,
        "RestartCount": record.restarts.number,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config.in_dockers_order(
            {
                "Binds": mount_views.binds(plan.mounts),
                "LogConfig": _log_config(plan),
                "RestartPolicy": {"Name": plan.restart.name, "MaximumRetryCount": plan.restart.retries},
                "AutoRemove": record.auto_remove,
                "VolumeDriver": plan.volume_driver,
                "VolumesFrom": list(plan.volumes_from) or None,
                "ConsoleSize": [0, 0],
                **network_view.host_config(plan.networking, record.name),
                **mount_views.host_config(plan.mounts),
                **host_config.isolation(plan, runtime=runtime, cgroup_namespace=cgroup_namespace),
            }
        ),
        "Mounts": mount_views.mounts(plan.mounts, volume_paths),
        "Config": {
            "Hostname": plan.hostname,
            "Domainname": plan.networking.domainname,
            "User": plan.user,
            **_attached(plan),
            **({"ExposedPorts": {port: {} for port in plan.networking.exposed}} if plan.networking.exposed else {}),
            "Tty": plan.tty,
            "OpenStdin": plan.stdin,
            "StdinOnce": plan.stdin and not plan.detach,
            "Env": list(plan.env) or None,
            "Cmd": list(plan.command) or None,
            "Image": record.image_name,
            "Volumes": mount_views.anonymous(plan.mounts),
            "WorkingDir": plan.cwd if plan.cwd != "/" else "",
            "Entrypoint": list(plan.entrypoint) or None,
            "OnBuild": None,
            "Labels": dict(sorted(plan.labels.items())),
            **_stopping(plan),
        },
    }


def _log_config(plan: Plan) -> dict[str, Any]:
    if plan.log is None:
        return {"Type": "json-file", "Config": {}}
    return {"Type": plan.log.driver, "Config": dict(sorted(dict(plan.log.options).items()))}


def _attached(plan: Plan) -> dict[str, bool]:
    """Which streams its ``run`` was attached to."""
    given = plan.attach or ("stdout", "stderr", *(("stdin",) if plan.stdin else ()))
    return {f"Attach{name.capitalize()}": name in given and not plan.detach for name in ("stdin", "stdout", "stderr")}


def _stopping(plan: Plan) -> dict[str, Any]:
    """Docker leaves out what is its default."""
    found: dict[str, Any] = {}
    if plan.stop_signal != "SIGTERM":
        found["StopSignal"] = plan.stop_signal
    if plan.stop_timeout_seconds != 10:
        found["StopTimeout"] = plan.stop_timeout_seconds
    return found
