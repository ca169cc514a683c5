"""Networks: made, joined, left, removed. All in one place: records, kernel, firewall, name server.

Every step is noted in the records before it is made, so that what a killed process leaves is known (``sweep``).
"""

from __future__ import annotations

import os

from cais.errors import CaisError, Conflict, Denied, Invalid, NotFound, Unavailable, from_os_error
from cais.host.database import Database, Transaction
from cais.network import leases
from cais.network.addresses import AF_INET, AF_INET6
from cais.network.bridges import Bridges, SubnetTaken
from cais.network.inside import configure, interface, link_names, remove_link
from cais.network.netlink import Netlink, NetlinkError
from cais.network.records import Endpoint, Network, NetworkRecords, PublishedPort
from cais.network.wishes import EndpointWish, Joined, PortWish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cais.network.definition import NetworkOptions
    from cais.network.name_server import NameServer

_SUBNETS_TRIED = 8


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
        self.root = root
        self._database = database
        self.bridges = Bridges(root, self.records)

    @property
    def name_server(self) -> NameServer:
        from cais.network.name_server import NameServer

        return NameServer(self.root, self.records)

    def create(self, wanted: NetworkOptions, now: float) -> Network:
        """Only its record: see ``definition.define`` for what is raised."""
        from cais.host.files import random_name
        from cais.network.definition import define
        from cais.network.subnets import unused

        self.default()  # the first of the pools is its own
        id = random_name(32)
        with self._database.transaction() as change:
            others = self.records.all()
            network = define(wanted, id, now, others, lambda family: unused(others, family))
            self.records.add(change, network)
        return network

    def remove(self, network: Network) -> None:
        """Raises Denied (predefined), Conflict (somebody is in it), NotFound (it is gone)."""
        if network.is_predefined:
            raise Denied(f"{network.name} is a pre-defined network and cannot be removed")
        if self.bridges.is_there(network) or network.made_parent:
            self._release([network.id])  # what a killed command has left of it
        with self._database.transaction() as change:
            self.records.get(network.id)
            users = self.records.endpoints(network=network.id)
            if users:
                shown = ", ".join(f'name:"{item.name}" id:"{item.container[:12]}"' for item in users)
                raise Conflict(
                    f"error while removing network: network {network.name} has active endpoints ({shown})",
                    hint=f"Take it out first: cais network disconnect -f {network.name} {users[0].name}",
                )
            if any(other.config_from == network.name for other in self.records.all()):
                raise Conflict(f'error while removing network: configuration network "{network.name}" is in use')
            self.records.remove(change, network.id)

    def default(self) -> Network:
        """The network ``bridge``, with a subnet (``cais.network.default``). Raises Unavailable."""
        from cais.network.default import settled

        return settled(self._database, self.records, self.bridges)

    def join(
        self,
        container: str,
        name: str,
        wishes: Sequence[EndpointWish],
        netns_fd: int,
        ports: Sequence[PortWish] = (),
        *,
        routed: bool = True,
    ) -> Joined:
        """Puts the network namespace ``netns_fd`` into networks, and publishes ``ports``. ``name`` is the container's.

        Not ``routed``: bridges lead nowhere else, and somebody else says where the default routes go.
        Raises NotFound (network), Invalid, Conflict (address or port taken), Denied, Unavailable (no address left, or
        the kernel refuses), Unsupported (the kernel lacks it). Then nothing of it is left.
        """
        for _ in range(_SUBNETS_TRIED):
            try:
                return self._join(container, name, wishes, netns_fd, ports, routed)
            except SubnetTaken as error:
                if error.network.name != "bridge":
                    raise
                taken = error  # by another root directory, since it was chosen: ``default`` chooses again
        raise taken

    def _join(
        self,
        container: str,
        name: str,
        wishes: Sequence[EndpointWish],
        netns_fd: int,
        ports: Sequence[PortWish],
        routed: bool,
    ) -> Joined:
        networks = [self._usable(wish.network) for wish in wishes]
        if container in self.records.containers():
            self._undo(container)
        reserved: list[int] = []
        try:
            with self._database.transaction() as change:
                networks = [self.records.get(network.id) for network in networks]
                endpoints = self._lease(change, container, name, networks, wishes, routed)
                published = self._choose_ports(change, networks, endpoints, ports, reserved)
            self._make(networks, endpoints, netns_fd, wishes, published)
            if published:
                self.bridges.publish(published)
                if any(port.relayed for port in published):
                    from cais.network import relays

                    relays.take_over(self.root, self.bridges.table, published, reserved)
        except BaseException:
            for descriptor in reserved:
                os.close(descriptor)
            self._undo(container)
            raise
        return Joined(tuple(endpoints), tuple(published), self._name_servers(networks, endpoints), tuple(reserved))

    def connect(
        self, container: str, name: str, wish: EndpointWish, netns_fd: int, ports: Sequence[PortWish] = (), *,
        routed: bool = True,
    ) -> Endpoint:  # fmt: skip
        """Puts a running container into one more network. Raises as ``join``; Conflict where it is in it already.

        ``ports`` are what it wants to be published, and is where it was not so far.
        """
        network = self._usable(wish.network)
        present = self.records.endpoints(container=container)
        if any(item.network == network.id for item in present):
            raise Conflict(f"endpoint with name {name} already exists in network {network.name}", exit_code=1)
        names = link_names(netns_fd)
        try:
            with self._database.transaction() as change:
                network = self.records.get(network.id)
                endpoint = leases.endpoint(self.records, change, network, container, name, wish, names)
                # A default route that is there stays, unless this network was told to come first.
                free4 = not any(item.default4 for item in present) or wish.gateway_priority > 0
                free6 = not any(item.default6 for item in present) or wish.gateway_priority > 0
                usable = routed and not network.internal
                endpoint = endpoint._replace(
                    default4=usable and free4 and bool(endpoint.gateway4),
                    default6=usable and free6 and bool(endpoint.gateway6),
                )
                self.records.update_endpoint(change, endpoint)
            self._make([network], [endpoint], netns_fd, [wish], ())
        except BaseException:
            self._drop(container, network.id)
            raise
        if ports:
            from cais.network.following import appear

            appear(self, network, endpoint, netns_fd, ports)
        self._name_servers([network], [endpoint])
        return endpoint

    def disconnect(self, container: str, network: Network, netns_fd: int | None) -> None:
        """Takes a container out of a network; ``netns_fd`` None where it does not run any more. Raises NotFound."""
        present = self.records.endpoints(container=container)
        mine = next((item for item in present if item.network == network.id), None)
        if mine is None:
            raise NotFound(f"container {container} is not connected to network {network.name}")
        from cais.network.following import follow, reroute

        if netns_fd is not None:
            try:
                remove_link(netns_fd, mine.interface)
                rest = [item for item in present if item is not mine]
                if mine.default4 or mine.default6:
                    reroute(self.records, rest, mine, netns_fd)
            except OSError as error:
                raise _refused(error, [network])
        follow(self, container, leaving=mine)
        self._drop(container, network.id)

    def _drop(self, container: str, network: str) -> None:
        with self._database.transaction() as change:
            change.execute("DELETE FROM network_endpoints WHERE container = ? AND network = ?", (container, network))
        self._release([network])

    def _release(self, networks: Collection[str], *, wait: bool = True) -> None:
        """What stands on the host for those of them (ids) that nobody is in any more goes."""
        found = [network for id in networks for network in self.records.find(id)]
        if any(network.has_names for network in found):
            self.name_server.follow()
        self.bridges.release(networks, wait=wait)
        for network in found:
            if network.made_parent and not self.records.is_used(network.id):
                from cais.network import parents

                with Netlink() as netlink:
                    parents.remove(netlink, network)
                self._made_parent(network, False)

    def _made_parent(self, network: Network, made: bool) -> None:
        with self._database.transaction() as change:
            self.records.update(change, network._replace(made_parent=made))

    def _usable(self, text: str) -> Network:
        network = self.records.get(text)
        if network.driver == "host":
            raise Invalid("container cannot be disconnected from host network or connected to host network")
        if network.driver == "null" and not network.config_only:
            raise Invalid(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            )
        return self.default() if network.name == "bridge" else network

    def _lease(
        self, change: Transaction, container: str, name: str, networks: Sequence[Network],
        wishes: Sequence[EndpointWish], routed: bool,
    ) -> list[Endpoint]:  # fmt: skip
        families = (AF_INET, AF_INET6)
        ways = {family: leases.default_gateway(networks, wishes, family) if routed else None for family in families}
        endpoints: list[Endpoint] = []
        names: set[str] = set()
        for index, (network, wish) in enumerate(zip(networks, wishes, strict=True)):
            found = leases.endpoint(self.records, change, network, container, name, wish, names)
            names.add(found.interface)
            found = found._replace(default4=ways[AF_INET] == index, default6=ways[AF_INET6] == index)
            self.records.update_endpoint(change, found)
            endpoints.append(found)
        return endpoints

    def _choose_ports(
        self, change: Transaction, networks: Sequence[Network], endpoints: Sequence[Endpoint],
        ports: Sequence[PortWish], reserved: list[int],
    ) -> list[PublishedPort]:  # fmt: skip
        usable = [
            (network, endpoint)
            for network, endpoint in zip(networks, endpoints, strict=True)
            if network.driver == "bridge" and not network.internal
        ]
        if not ports or not usable:
            return []
        from cais.network.option_names import HOST_BINDING
        from cais.network.publishing import choose

        first = [pair for pair in usable if pair[1].default4 or pair[1].default6]
        network, endpoint = (first or usable)[0]
        published = []
        for wish in ports:
            default_ip = network.options.get(HOST_BINDING, "")
            for port, descriptor in choose(self.records, endpoint, wish, default_ip, with_relays=True):
                reserved.append(descriptor)
                self.records.add_port(change, port)
                published.append(port)
        return published

    def _make(
        self, networks: Sequence[Network], endpoints: Sequence[Endpoint], netns_fd: int,
        wishes: Sequence[EndpointWish], published: Collection[PublishedPort],
    ) -> None:  # fmt: skip
        targets = {port.target_ip for port in published}
        try:
            with Netlink() as netlink:
                lock = self.bridges.hold([item for item in networks if item.driver == "bridge"], netlink)
                try:
                    for network, endpoint in zip(networks, endpoints, strict=True):
                        if network.driver == "bridge":
                            has_ports = not targets.isdisjoint((endpoint.ip4, endpoint.ip6))
                            self.bridges.plug(netlink, network, endpoint, netns_fd, has_ports)
                        else:
                            from cais.network import parents

                            parents.plug(
                                netlink,
                                network,
                                endpoint,
                                netns_fd,
                                lambda it=network: self._made_parent(it, True),  # type: ignore[misc]
                            )
                finally:
                    lock.release()
            configure(netns_fd, [interface(*three) for three in zip(networks, endpoints, wishes, strict=True)])
        except OSError as error:
            raise _refused(error, networks)

    def _name_servers(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
        """Addresses of the name servers that know the others there; () where nobody does."""
        served = [item for network, item in zip(networks, endpoints, strict=True) if network.has_names]
        if not served or not self.name_server.follow():
            return ()
        return tuple(address for item in served for address in (item.gateway4, item.gateway6) if address)

    def name_servers(self, container: str) -> tuple[str, ...]:
        """Addresses of the name servers of the networks that a container is in; () where there are none."""
        endpoints = self.records.endpoints(container=container)
        return self._name_servers([self.records.get(item.network) for item in endpoints], endpoints)

    def await_names(self, container: str, name: str = "") -> str:
        """Returns when the name servers of its networks know a container by a name, or by its id; what the user is to
        be told where they never will, or ""."""
        from cais.network.name_server import await_known

        taken = []
        for item in self.records.endpoints(container=container):
            known = self.records.find(item.network)
            server = item.gateway4 or item.gateway6
            if not known or not known[0].has_names or not server or not self.name_server.running():
                continue
            if not await_known(item, name or container[:12]):
                taken.append(f"{server} (network {known[0].name})")
        if not taken:
            return ""
        return (
            f"WARNING: containers are not found by their names: another program has UDP port 53 of {', '.join(taken)}. "
            "Have it listen at addresses of its own, not at all."
        )

    def leave(self, container: str, *, wait: bool = True) -> None:
        """After a container's end: its addresses and ports are free again. Nothing to leave is no error.

        Without ``wait`` bridges that nobody is in any more are gone a moment after this has returned.
        """
        endpoints = self.records.endpoints(container=container)
        held = self.records.held(container)
        if not endpoints and not held:
            return
        if held:
            self.bridges.unpublish(
                [port for port in held if port.target_ip], lambda: self.records.forget_ports(container)
            )
        with self._database.transaction() as change:
            change.execute("DELETE FROM network_endpoints WHERE container = ?", (container,))
        self._release([endpoint.network for endpoint in endpoints], wait=wait)

    def _undo(self, container: str) -> None:
        """Leaves, in a namespace that goes on to be: its links go, too."""
        outside = [item.outside for item in self.records.endpoints(container=container) if item.outside]
        if outside:
            self.bridges.unplug(outside)
        self.leave(container)

    def rename(self, container: str, name: str) -> None:
        """The container has another name now; its networks know it by that."""
        with self._database.transaction() as change:
            for item in self.records.endpoints(container=container):
                names = tuple(dict.fromkeys((name, *item.aliases, container[:12])))
                self.records.update_endpoint(change, item._replace(name=name, names=names))
        self.name_server.follow()
        self.await_names(container, name)

    def sweep(self, alive: Iterable[str]) -> list[str]:
        """Has all that are not among the ids ``alive`` leave; which did. A reboot has removed what the kernel had."""
        known = self.records.containers()
        gone = sorted(known - set(alive)) if known else []
        for container in gone:
            self.leave(container)
        return gone


def _refused(error: OSError, networks: Sequence[Network]) -> CaisError:
    names = ", ".join(network.name for network in networks)
    if isinstance(error, NetlinkError):
        return Unavailable(f"cannot set up the network {names}: {error.strerror}", exit_code=125)
    return from_os_error(error, f"set up the network {names}")
