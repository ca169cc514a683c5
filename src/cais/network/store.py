"""Networks: containers join and leave them. All in one place: records, kernel, firewall, name server.

Every step is noted in the records before it is made, so that what a killed process leaves is known (``sweep``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cais.errors import CaisError, Invalid, Unavailable, from_os_error
from cais.host.database import Database, Transaction
from cais.network import leases
from cais.network.addresses import AF_INET, AF_INET6, Address, parse_address
from cais.network.bridges import Bridges
from cais.network.inside import Interface, configure
from cais.network.netlink import Netlink, NetlinkError
from cais.network.records import Endpoint, Network, NetworkRecords, PublishedPort
from cais.network.wishes import EndpointWish, Joined, PortWish

_HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"


class Networks:
    """The networks of one root directory.

    How a container is given its networks, by whoever starts it (as root of the network namespace that this thread is
    in, which is "the host" here)::

        joined = networks.join(id, name, wishes, netns_fd, ports)   # interfaces are there, up and routed
        ...                                                         # it runs; joined.endpoints for inspect, hosts
        networks.leave(id)                                          # after its end, or instead of its start

    ``join`` may be called while nothing runs in the namespace yet. Its veths die with the namespace; ``leave`` gives
    back addresses and ports and removes bridges that nobody is in. Both may be repeated; a ``join`` that was killed is
    undone by ``leave`` or ``sweep``. ``host`` and ``none`` are no networks to join: they have no endpoints here.
    """

    def __init__(self, root: str, database: Database) -> None:
        self.records = NetworkRecords(database)
        self._root = root
        self._database = database
        self.bridges = Bridges(root, self.records)

    def join(
        self,
        container: str,
        name: str,
        wishes: Sequence[EndpointWish],
        netns_fd: int,
        ports: Sequence[PortWish] = (),
    ) -> Joined:
        """Puts the network namespace ``netns_fd`` into networks, and publishes ``ports``. ``name`` is the container's.

        Raises NotFound (network), Invalid, Conflict (address or port taken), Denied, Unavailable (no address left, or
        the kernel refuses), Unsupported (the kernel lacks it). Then nothing of it is left.
        """
        networks = [self._usable(wish.network) for wish in wishes]
        if container in self.records.containers():
            self.leave(container)
        reserved: list[int] = []
        try:
            endpoints, published = self._note(container, name, networks, wishes, ports, reserved)
            self._make(networks, endpoints, netns_fd, wishes)
            if published:
                self.bridges.publish(published)
            dns = self.bridges.name_servers(networks, endpoints)
        except BaseException:
            for descriptor in reserved:
                os.close(descriptor)
            self.leave(container)
            raise
        return Joined(tuple(endpoints), tuple(published), dns, tuple(reserved))

    def _usable(self, text: str) -> Network:
        network = self.records.get(text)
        if network.driver in ("host", "null"):
            raise Invalid(
                f"container cannot be connected to network endpoints: {network.name}"
                if network.driver == "host"
                else "container cannot be connected to the none network with others",
                exit_code=125,
            )
        return self.bridges.with_pool(network) if network.name == "bridge" else network

    def _note(
        self, container: str, name: str, networks: Sequence[Network], wishes: Sequence[EndpointWish],
        ports: Sequence[PortWish], reserved: list[int],
    ) -> tuple[list[Endpoint], list[PublishedPort]]:  # fmt: skip
        ways = {family: leases.default_gateway(networks, wishes, family) for family in (AF_INET, AF_INET6)}
        with self._database.transaction() as change:
            endpoints = []
            for index, (network, wish) in enumerate(zip(networks, wishes, strict=True)):
                found = leases.endpoint(self.records, change, network, container, name, wish, f"eth{index}")
                found = found._replace(default4=ways[AF_INET] == index, default6=ways[AF_INET6] == index)
                self.records.update_endpoint(change, found)
                endpoints.append(found)
            published = self._note_ports(change, networks, endpoints, ports, reserved)
        return endpoints, published

    def _note_ports(
        self, change: Transaction, networks: Sequence[Network], endpoints: Sequence[Endpoint],
        ports: Sequence[PortWish], reserved: list[int],
    ) -> list[PublishedPort]:  # fmt: skip
        published: list[PublishedPort] = []
        usable = [
            (network, endpoint)
            for network, endpoint in zip(networks, endpoints, strict=True)
            if network.driver == "bridge" and not network.internal
        ]
        if not ports or not usable:
            return published
        network, endpoint = next(
            ((network, item) for network, item in usable if item.default4 or item.default6), usable[0]
        )
        from cais.network.publishing import choose

        for wish in ports:
            default = network.options.get(_HOST_BINDING, "")
            for port, descriptor in choose(self.records, endpoint, wish, default):
                reserved.append(descriptor)
                self.records.add_port(change, port)
                published.append(port)
        return published

    def _make(
        self, networks: Sequence[Network], endpoints: Sequence[Endpoint], netns_fd: int, wishes: Sequence[EndpointWish]
    ) -> None:
        try:
            with Netlink() as netlink:
                lock = self.bridges.hold([item for item in networks if item.driver == "bridge"], netlink)
                try:
                    for network, endpoint in zip(networks, endpoints, strict=True):
                        self.bridges.plug(netlink, network, endpoint, netns_fd)
                finally:
                    lock.release()
            configure(netns_fd, [_interface(*three) for three in zip(networks, endpoints, wishes, strict=True)])
        except OSError as error:
            raise _refused(error, networks)

    def leave(self, container: str) -> None:
        """After a container's end: its addresses and ports are free again. Nothing to leave is no error."""
        endpoints = self.records.endpoints(container=container)
        ports = self.records.ports(container)
        if not endpoints and not ports:
            return
        if ports:
            self.bridges.unpublish(ports)
        with self._database.transaction() as change:
            change.execute("DELETE FROM network_ports WHERE container = ?", (container,))
            change.execute("DELETE FROM network_endpoints WHERE container = ?", (container,))
        self.bridges.release({endpoint.network for endpoint in endpoints})

    def sweep(self, alive: Iterable[str]) -> list[str]:
        """Has all that are not among the ids ``alive`` leave; which did. A reboot has removed what the kernel had."""
        gone = sorted(self.records.containers() - set(alive))
        for container in gone:
            self.leave(container)
        return gone


def _interface(network: Network, endpoint: Endpoint, wish: EndpointWish) -> Interface:
    addresses: list[tuple[Address, int]] = []
    gateways: list[Address] = []
    for text, prefix, gateway, is_default in (
        (endpoint.ip4, endpoint.prefix4, endpoint.gateway4, endpoint.default4),
        (endpoint.ip6, endpoint.prefix6, endpoint.gateway6, endpoint.default6),
    ):
        if text:
            addresses.append((parse_address(text), prefix))
            if is_default and gateway:
                gateways.append(parse_address(gateway))
    for text in wish.link_local:
        address = parse_address(text)
        addresses.append((address, 16 if address.family == AF_INET else 64))
    return Interface(endpoint.interface, addresses, gateways)


def _refused(error: OSError, networks: Sequence[Network]) -> CaisError:
    names = ", ".join(network.name for network in networks)
    found = from_os_error(error, f"set up the network {names}")
    if isinstance(error, NetlinkError):
        return Unavailable(f"cannot set up the network {names}: {error.strerror}", exit_code=125)
    return found
