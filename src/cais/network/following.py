"""What follows a container that joins and leaves networks while it runs: its default route, and its published ports.

What no network passes on any more stays the container's, without a target: its monitor keeps the socket bound.
"""

from __future__ import annotations

import os

from cais.errors import from_os_error
from cais.network import relays
from cais.network.addresses import AF_INET, AF_INET6, parse_address
from cais.network.inside import route
from cais.network.option_names import HOST_BINDING
from cais.network.publishing import choose
from cais.network.records import Endpoint, Network, NetworkRecords, PublishedPort
from cais.network.wishes import PortWish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cais.network.store import Networks


def follow(networks: Networks, container: str, leaving: Endpoint | None = None) -> None:
    """Has the ports that are the container's go to an endpoint of a bridge, but not to the one it is ``leaving``.

    Where they go already they stay. Raises Conflict where another program has taken a relay's.
    """
    records = networks.records
    present = records.endpoints(container=container)
    own = {text for item in present for text in (item.ip4, item.ip6)} | {""}
    held = [port for port in records.held(container) if port.target_ip in own]  # what pasta serves has another
    if not held:
        return
    targets = {port.target_ip for port in held}
    ways = [
        (item, network)
        for item in present
        if leaving is None or item.network != leaving.network
        if (network := records.get(item.network)).driver == "bridge" and not network.internal
    ]
    ways.sort(key=lambda way: (targets.isdisjoint(_addresses(way[0])), not (way[0].default4 or way[0].default6)))
    changes = [(port, port._replace(target_ip=_target(port, ways[0][0] if ways else None))) for port in held]
    changes = [(old, new) for old, new in changes if old != new]
    networks.bridges.unpublish(
        [old for old, _ in changes if old.target_ip], lambda: records.set_targets(new for _, new in changes)
    )
    fresh = [new for _, new in changes if new.target_ip]
    if fresh:
        networks.bridges.let_return(ways[0][1], ways[0][0])
        networks.bridges.publish(fresh)
        for port in fresh:
            if port.relayed:
                try:
                    relays.revive(networks.root, networks.bridges.table, port)
                except OSError as error:
                    raise from_os_error(error, f"bind [{port.host_ip}]:{port.host_port}")


def appear(networks: Networks, network: Network, endpoint: Endpoint, netns_fd: int, wishes: Sequence[PortWish]) -> None:
    """A running container has come into a network: what it wants to be published is so from now on.

    Raises Conflict (a port is taken), and as ``choose``; then it has left the network again.
    """
    try:
        if networks.records.held(endpoint.container):
            follow(networks, endpoint.container)
        elif network.driver == "bridge" and not network.internal:
            _publish(networks, network, endpoint, wishes)
    except BaseException:
        networks.disconnect(endpoint.container, network, netns_fd)
        raise


def _publish(networks: Networks, network: Network, endpoint: Endpoint, wishes: Sequence[PortWish]) -> None:
    """Publishes what could not be when the container started. No monitor keeps the sockets: another program of the
    host may bind them, and is not asked."""
    default_ip = network.options.get(HOST_BINDING, "")
    chosen: list[tuple[PublishedPort, int]] = []
    try:
        with networks.records.database.transaction() as change:
            for wish in wishes:
                for port, descriptor in choose(networks.records, endpoint, wish, default_ip, with_relays=True):
                    chosen.append((port, descriptor))
                    networks.records.add_port(change, port)
        ports, sockets = [port for port, _ in chosen], [descriptor for _, descriptor in chosen]
        networks.bridges.let_return(network, endpoint)
        networks.bridges.publish(ports)
        for port, descriptor in zip(ports, sockets, strict=True):
            if port.relayed:
                relays.start(networks.root, networks.bridges.table, port, descriptor)
    finally:
        for _, descriptor in chosen:
            os.close(descriptor)


def reroute(records: NetworkRecords, rest: Sequence[Endpoint], gone: Endpoint, netns_fd: int) -> None:
    """The default route goes another way when its network was left."""
    internal = {network.id for network in records.all() if network.internal}
    for family, had in ((AF_INET, gone.default4), (AF_INET6, gone.default6)):
        if not had:
            continue
        usable = sorted(
            (item.network_name, item)
            for item in rest
            if item.network not in internal and (item.gateway4 if family == AF_INET else item.gateway6)
        )
        if not usable:
            continue
        heir = usable[0][1]
        route(netns_fd, heir.interface, parse_address(heir.gateway4 if family == AF_INET else heir.gateway6))
        with records.database.transaction() as change:
            heir = heir._replace(default4=True) if family == AF_INET else heir._replace(default6=True)
            records.update_endpoint(change, heir)


def _addresses(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.ip4, endpoint.ip6


def _target(port: PublishedPort, endpoint: Endpoint | None) -> str:
    """Where the endpoint is reached from the port's address of the host, or ""."""
    if endpoint is None:
        return ""
    if ":" not in port.host_ip:
        return endpoint.ip4
    return endpoint.ip6 or (endpoint.ip4 if port.protocol == "tcp" and relays.is_installed() else "")
