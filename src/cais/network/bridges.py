"""Bridges of the host: made when the first container comes, gone with the last, the firewall always as the records say.

One lock for all of a root directory: shared by those who plug a container into bridges that are there, alone for who
makes or removes one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from cais.errors import Conflict, Unavailable
from cais.host.locks import FileLock
from cais.network import firewall, foreign, links
from cais.network.addresses import AF_INET, AF_INET6, Address, Subnet, free_subnet, mac_of
from cais.network.inside import set_sysctl
from cais.network.netlink import Netlink
from cais.network.programs import run
from cais.network.records import Endpoint, Network, NetworkRecords, Pool, PublishedPort

SYSTEM_ROOT = "/var/lib/cais"
_MTU = "com.docker.network.driver.mtu"
_ICC = "com.docker.network.bridge.enable_icc"
_DEFAULT_MTU = 1500


class Bridges:
    def __init__(self, root: str, records: NetworkRecords) -> None:
        self._lock_path = os.path.join(root, "networks.lock")
        self._records = records
        self._is_system = root == SYSTEM_ROOT
        self._table = ""

    @property
    def table(self) -> str:
        """The name of the firewall's table: each root directory has its own."""
        if not self._table:
            self._table = "cais" if self._is_system else f"cais_{self._records.get('bridge').id[:8]}"
        return self._table

    def with_pool(self, network: Network) -> Network:
        """The default network has a subnet from its first use on; another one where the host has taken that since."""
        if network.pools:
            return network
        with Netlink() as netlink:
            subnet = self.unused_subnet(netlink)
        chosen = network._replace(
            interface="cais0" if self._is_system else f"cais-{network.id[:10]}",
            pools=(Pool(subnet, Address(AF_INET, subnet.number + 1)),),
            chosen=True,
        )
        with self._records.database.transaction() as change:
            again = self._records.get(network.id)
            if again.pools:
                return again
            self._records.update(change, chosen)
        return chosen

    def unused_subnet(self, netlink: Netlink) -> Subnet:
        """The first of Docker's pools that neither the host nor another network has. Raises Unavailable."""
        used = [subnet for subnet, _ in links.routed_subnets(netlink)]
        used += [pool.subnet for network in self._records.all() for pool in network.pools]
        found = free_subnet(used)
        if found is None:
            raise Unavailable("all predefined address pools have been fully subnetted")
        return found

    def hold(self, networks: Sequence[Network], netlink: Netlink) -> FileLock:
        """The bridges of these networks are there, and stay until the lock is released."""
        lock = FileLock(self._lock_path)
        lock.acquire(shared=True)
        try:
            if any(links.find(netlink, network.interface) is None for network in networks):
                lock.release()
                lock.acquire()
                self._make([item for item in networks if links.find(netlink, item.interface) is None], netlink)
        except BaseException:
            lock.release()
            raise
        return lock

    def _make(self, networks: Sequence[Network], netlink: Netlink) -> None:
        """Firewall first: no packet passes a bridge that it does not know."""
        for network in networks:
            self._check_routes(network, netlink)
        present = self._present(netlink) | {network.id for network in networks}
        self._apply(present)
        for network in networks:
            pool = network.pool(AF_INET) or network.pool(AF_INET6)
            gateway = pool.gateway if pool is not None else None
            mac = mac_of(gateway) if gateway is not None else f"02:42:{network.id[0:2]}:{network.id[2:4]}:00:01"
            netlink.send([links.add_bridge(network.interface, mac, mtu(network))])
            link = links.find(netlink, network.interface)
            if link is None:
                raise Unavailable(f"the bridge {network.interface} was removed by another program")
            has_6 = network.pool(AF_INET6) is not None
            set_sysctl(f"net/ipv6/conf/{network.interface}/disable_ipv6", "0" if has_6 else "1")
            netlink.send(
                [
                    links.add_address(link.number, pool.gateway, pool.subnet.prefix)
                    for pool in network.pools
                    if pool.gateway is not None
                ]
            )
            set_sysctl(f"net/ipv4/conf/{network.interface}/route_localnet", "1")
            foreign.open_for(network.interface, dns=not network.is_predefined)
            if has_6:
                _forward_6()
        set_sysctl("net/ipv4/ip_forward", "1")

    def _check_routes(self, network: Network, netlink: Netlink) -> None:
        for subnet, index in links.routed_subnets(netlink):
            for pool in network.pools:
                if pool.subnet.overlaps(subnet):
                    other = links.find(netlink, index=index)
                    raise Conflict(
                        f"cannot set up the network {network.name}: its subnet {pool.subnet} overlaps the host's route "
                        f"{subnet} by {other.name if other else index}",
                        hint="Make the network anew with another --subnet.",
                        exit_code=125,
                    )

    def _present(self, netlink: Netlink) -> set[str]:
        """The ids of the networks whose bridges are there."""
        names = {link.name for link in links.all_links(netlink) if link.kind == "bridge"}
        return {item.id for item in self._records.all() if item.driver == "bridge" and item.interface in names}

    def _apply(self, present: Collection[str]) -> None:
        networks = [network for network in self._records.all() if network.id in present]
        self._nft(firewall.table(self.table, networks, self._records.ports()))

    def _nft(self, text: str) -> None:
        ended = run("nft", "-f", "-", given=text)
        if ended is None:
            raise Unavailable(
                "nft is not installed: networks need it",
                hint="Install it (Debian: apt-get install nftables), or use --network none or host.",
                exit_code=125,
            )
        if ended.code != 0:
            raise Unavailable(f"nft cannot set up the firewall: {ended.errors.strip().splitlines()[0]}", exit_code=125)

    def plug(self, netlink: Netlink, network: Network, endpoint: Endpoint, netns_fd: int) -> None:
        """The link of a container, one end of it in its namespace."""
        bridge = links.find(netlink, network.interface)
        if bridge is None:
            raise Unavailable(f"the bridge {network.interface} was removed by another program", exit_code=125)
        netlink.send(
            [links.add_pair(endpoint.outside, bridge.number, endpoint.interface, endpoint.mac, mtu(network), netns_fd)]
        )
        if network.options.get(_ICC, "true").lower() in ("false", "0", "f"):
            outside = links.find(netlink, endpoint.outside)
            if outside is not None:
                netlink.send([links.isolate_port(outside.number)])

    def publish(self, ports: Sequence[PublishedPort]) -> None:
        self._nft(firewall.add_ports(self.table, ports))

    def unpublish(self, ports: Sequence[PublishedPort]) -> None:
        """Where the firewall does not know one of them (after a reboot), it has none."""
        ended = run("nft", "-f", "-", given=firewall.remove_ports(self.table, ports))
        if ended is not None and ended.code != 0:
            for port in ports:
                run("nft", "-f", "-", given=firewall.remove_ports(self.table, [port]))

    def name_servers(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
        return ()

    def release(self, networks: Collection[str]) -> None:
        """Removes the bridges of those of these networks (ids) that nobody is in any more."""
        empty = [network for network in networks if not self._records.endpoints(network=network)]
        if not empty:
            return
        with FileLock(self._lock_path), Netlink() as netlink:
            for id in empty:
                if self._records.endpoints(network=id):
                    continue
                network = self._records.get(id)
                link = links.find(netlink, network.interface) if network.interface else None
                if link is not None:
                    netlink.send([links.delete_link(link.number)])
                    foreign.close_for(network.interface)
            self._apply(self._present(netlink))


def mtu(network: Network) -> int:
    return int(network.options.get(_MTU, _DEFAULT_MTU))


def _forward_6() -> None:
    """Forwarding makes a host deaf to routers: links that listened to them are told to go on."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/forwarding", encoding="ascii") as file:
            if file.read().strip() == "1":
                return
        names = os.listdir("/proc/sys/net/ipv6/conf")
    except OSError:
        return
    for name in names:
        path = f"/proc/sys/net/ipv6/conf/{name}/accept_ra"
        try:
            with open(path, encoding="ascii") as file:
                listens = file.read().strip() == "1"
        except OSError:
            continue
        if listens and name not in ("all", "default", "lo"):
            set_sysctl(f"net/ipv6/conf/{name}/accept_ra", "2")
    set_sysctl("net/ipv6/conf/all/forwarding", "1")
