"""Editing: another plan for a container that is there, from its own and what flags of ``run`` change in it. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from cais.container.networking import Binding, Networking
from cais.container.options import RunOptions, parse_environment, parse_labels
from cais.container.plan import Plan, plan
from cais.container.published import parse_publish
from cais.errors import Invalid
from cais.runtime.spec import merge_environment
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.container.mount_options import MountPoint

# Fields of RunOptions, and the field of the plan that each replaces.
_REPLACED = {
    "hostname": "hostname", "workdir": "cwd", "user": "user", "group_add": "group_add", "read_only": "readonly",
    "init": "init", "stop_signal": "stop_signal", "stop_timeout_seconds": "stop_timeout_seconds", "restart": "restart",
    "shm_size": "shm_bytes", "entrypoint": "entrypoint", "command": "command", "interactive": "stdin", "tty": "tty",
}  # fmt: skip
_OF_NETWORKING = {
    "dns": "dns", "dns_options": "dns_options", "dns_search": "dns_search", "publish_all": "publish_all",
    "domainname": "domainname",
}  # fmt: skip


class Edits(NamedTuple):
    """``wanted``: what flags say, ``said``: which of its fields they name. The rest is what is taken away: ports
    (``80``, ``80/udp``, ``8080:80``), variables, labels, the places of mounts."""

    wanted: RunOptions
    said: frozenset[str] = frozenset()
    ports: Sequence[str] = ()
    variables: Sequence[str] = ()
    labels: Sequence[str] = ()
    mounts: Sequence[str] = ()


def edited(old: Plan, edits: Edits, id: str) -> Plan:
    """``id`` is the container's. Raises Invalid for what is wrong, and for taking away what is not there."""
    wanted = edits.wanted
    # As for a new container: one reading of the flags, one set of words for what is wrong with them.
    fresh = plan(_as_image(old), wanted._replace(command=tuple(wanted.command) or old.command or ("-",)), id)
    changed: dict[str, Any] = {
        target: getattr(fresh, target) for field, target in _REPLACED.items() if field in edits.said
    }
    if "entrypoint" in edits.said and "command" not in edits.said:
        changed["command"] = ()  # a command was for another entrypoint
    if any(field.startswith("health_") or field == "no_healthcheck" for field in edits.said):
        changed["health"] = fresh.health
    changed["env"] = _environment(old.env, parse_environment(wanted), edits.variables)
    changed["labels"] = _without(old.labels, edits.labels, "label") | parse_labels(wanted)
    changed["mounts"] = _mounts(old.mounts, fresh.mounts, edits.mounts)
    changed["networking"] = _networking(old.networking, fresh.networking, edits)
    new = old._replace(**changed)
    if not new.args:
        raise Invalid("no command specified", hint="Give one behind the container's name.")
    return new


def _as_image(old: Plan) -> dict[str, Any]:
    """What a health check is changed from."""
    if old.health is None:
        return {}
    from cais.container.health import config_json

    return {"Healthcheck": config_json(old.health), "Shell": list(old.health.shell)}


def _environment(old: Sequence[str], given: Sequence[str], gone: Sequence[str]) -> tuple[str, ...]:
    _without({item.partition("=")[0]: "" for item in old}, gone, "variable")
    kept = [item for item in old if item.partition("=")[0] not in gone]
    return merge_environment(kept, given) if given else tuple(kept)


def _without(old: Mapping[str, str], gone: Sequence[str], what: str) -> dict[str, str]:
    for name in gone:
        if name not in old:
            raise Invalid(f"the container has no {what} {name!r}")
    return {name: value for name, value in old.items() if name not in gone}


def _mounts(old: Sequence[MountPoint], given: Sequence[MountPoint], gone: Sequence[str]) -> tuple[MountPoint, ...]:
    points = {point.target: point for point in old}
    for text in gone:
        if points.pop(posixpath.normpath(text), None) is None:
            known = ", ".join(point.target for point in old) or "none"
            raise Invalid(f"nothing is mounted at {text!r}", hint=f"The container's mounts: {known}.")
    points.update((point.target, point) for point in given)
    return tuple(sorted(points.values(), key=lambda point: point.target.count("/")))


def _networking(old: Networking, fresh: Networking, edits: Edits) -> Networking:
    changed: dict[str, Any] = {
        target: getattr(fresh, target) for field, target in _OF_NETWORKING.items() if field in edits.said
    }
    ports = list(old.ports)
    for text in edits.ports:
        found = [binding for binding in ports if any(_is_meant(binding, other) for other in _bindings(text))]
        if not found:
            raise Invalid(f"the port {text!r} is not published")
        ports = [binding for binding in ports if binding not in found]
    ports += [binding for binding in fresh.ports if binding not in ports]
    hosts = {item.partition(":")[0]: item for item in (*old.hosts, *fresh.hosts)}
    exposed = tuple(sorted({*old.exposed, *fresh.exposed}))
    return old._replace(ports=tuple(ports), exposed=exposed, hosts=tuple(hosts.values()), **changed)


def _bindings(text: str) -> list[Binding]:
    return list(parse_publish(text))


def _is_meant(binding: Binding, other: Binding) -> bool:
    """Whether ``other``, which may leave out where it is published, means ``binding``."""
    return (
        (binding.port, binding.protocol) == (other.port, other.protocol)
        and other.host_first in (0, binding.host_first)
        and other.host_ip in ("", binding.host_ip)
    )
