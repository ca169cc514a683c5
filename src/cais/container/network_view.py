"""The networks of a container as people and scripts see them: Docker's JSON, and what is in the PORTS column. Pure."""

from __future__ import annotations

from cais.container.networking import DEFAULT, Attachment, Networking
from cais.container.published import Published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cais.container.records import ContainerRecord
    from cais.network.records import Endpoint, PublishedPort


def host_config(networking: Networking, name: str) -> dict[str, Any]:
    """The part of HostConfig that is about networks. ``name`` is the container's."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for item in networking.ports:
        bindings.setdefault(item.target, []).append({"HostIp": item.host_ip, "HostPort": item.host_text})
    return {
        "NetworkMode": networking.mode,
        "PortBindings": {target: bindings[target] for target in sorted(bindings)},
        "Dns": list(networking.dns),
        "DnsOptions": list(networking.dns_options),
        "DnsSearch": list(networking.dns_search),
        "ExtraHosts": list(networking.hosts) or None,
        "Links": [f"/{other}:/{name}/{alias}" for other, alias in links(networking)] or None,
        "PublishAllPorts": networking.publish_all,
    }


def links(networking: Networking) -> list[tuple[str, str]]:
    """(other container, alias), of the network ``bridge``: there they are the container's, elsewhere the network's."""
    return [
        (other, alias)
        for item in networking.networks
        if item.network == DEFAULT
        for other, _, alias in (text.partition(":") for text in item.links)
    ]


def linked_names(records: Sequence[ContainerRecord]) -> dict[str, tuple[str, ...]]:
    """By name: ``other/alias`` for each link to it."""
    names = {record.id: record.name for record in records}
    found: dict[str, tuple[str, ...]] = {}
    for record in sorted(records, key=lambda item: item.name):
        for other, alias in sorted(links(Networking.from_json(record.plan.get("networking", {})))):
            name = names.get(other, other)
            found[name] = (*found.get(name, ()), f"{record.name}/{alias}")
    return found


def ports(networking: Networking, published: Sequence[PublishedPort]) -> tuple[Published, ...]:
    """What a running container has: published ports, and those that are only exposed."""
    found = [Published(item.target_port, item.protocol, item.host_ip, item.host_port) for item in published]
    bound = {(item.port, item.protocol) for item in found}
    for target in networking.exposed:
        number, _, protocol = target.partition("/")
        if (int(number), protocol) not in bound and networking.networks:
            found.append(Published(int(number), protocol))
    return tuple(found)


def settings(
    networking: Networking,
    endpoints: Sequence[Endpoint],
    published: Sequence[PublishedPort],
    *,
    ids: Mapping[str, str],
    hostname: str,
    short_id: str,
    sandbox: str,
) -> dict[str, Any]:
    """NetworkSettings. ``ids``: of networks, by name; ``sandbox``: the path of the network namespace, "" without."""
    by_name = {item.network_name: item for item in endpoints}
    attached = {item.network: item for item in networking.networks}
    bridge = by_name.get(DEFAULT)
    shown = {
        name: _network(attached.get(name), by_name.get(name), ids.get(name, ""), hostname, short_id)
        for name in networking.names
    }
    return {
        "Bridge": "",
        "SandboxID": short_id if sandbox else "",
        "SandboxKey": sandbox,
        "Ports": _ports(ports(networking, published)) if sandbox else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge.id if bridge else "",
        "Gateway": bridge.gateway4 if bridge else "",
        "GlobalIPv6Address": bridge.ip6 if bridge else "",
        "GlobalIPv6PrefixLen": bridge.prefix6 if bridge else 0,
        "IPAddress": bridge.ip4 if bridge else "",
        "IPPrefixLen": bridge.prefix4 if bridge else 0,
        "IPv6Gateway": bridge.gateway6 if bridge else "",
        "MacAddress": bridge.mac if bridge else "",
        "Networks": shown,
    }


def _ports(found: Sequence[Published]) -> dict[str, list[dict[str, str]] | None]:
    value: dict[str, list[dict[str, str]] | None] = {}
    for item in sorted(found, key=lambda item: (f"{item.port}/{item.protocol}", ":" in item.host_ip, item.host_ip)):
        target = f"{item.port}/{item.protocol}"
        if not item.host_port:
            value[target] = None
        else:
            value[target] = [*(value.get(target) or ()), {"HostIp": item.host_ip, "HostPort": str(item.host_port)}]
    return value


def _network(wanted: Attachment | None, has: Endpoint | None, id: str, hostname: str, short_id: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if wanted is not None:
        given = {"IPv4Address": wanted.ip, "IPv6Address": wanted.ip6, "LinkLocalIPs": list(wanted.link_local)}
        config = {key: item for key, item in given.items() if item}
    aliases = list(wanted.aliases) if wanted is not None else []
    known: list[str] | None = None
    if has is not None and has.network_name != DEFAULT:
        known = list(dict.fromkeys((has.name, *aliases, short_id, hostname)))
    return {
        "IPAMConfig": config or None,
        "Links": list(wanted.links) or None if wanted is not None and wanted.network != DEFAULT else None,
        "Aliases": aliases or None,
        "MacAddress": has.mac if has else wanted.mac if wanted else "",
        "DriverOpts": dict(text.partition("=")[::2] for text in wanted.options) if wanted and wanted.options else None,
        "GwPriority": wanted.priority if wanted else 0,
        "NetworkID": id,
        "EndpointID": has.id if has else "",
        "Gateway": has.gateway4 if has else "",
        "IPAddress": has.ip4 if has else "",
        "IPPrefixLen": has.prefix4 if has else 0,
        "IPv6Gateway": has.gateway6 if has else "",
        "GlobalIPv6Address": has.ip6 if has else "",
        "GlobalIPv6PrefixLen": has.prefix6 if has else 0,
        "DNSNames": known,
    }


def parse_port_filter(text: str, key: str) -> list[str]:
    """The ports of a filter ``publish`` or ``expose``: ``80``, ``80/udp``, ``8000-8010``. Raises Invalid."""
    from cais.container.published import parse_expose
    from cais.errors import Invalid

    try:
        return parse_expose(text)
    except Invalid:
        raise Invalid(f"invalid filter '{key}={text}'", hint="Give a port, or a range: 80, 53/udp, 8000-8010.")
