"""Bridges of the host: made when the first container comes, gone with the last, the firewall always as the records say.

One lock for all of a root directory: shared by those who plug a container into bridges that are there, alone for who
makes or removes one.
"""

from __future__ import annotations

import fcntl
import os
import time

from cais.errors import Conflict, Unavailable
from cais.host.beside import beside
from cais.host.locks import FileLock
from cais.host.processes import detached
from cais.network import firewall, foreign, links
from cais.network.addresses import AF_INET, AF_INET6
from cais.network.inside import set_sysctl
from cais.network.links import Link
from cais.network.netlink import Netlink
from cais.network.option_names import ICC, INHIBIT_IPV4, MTU, is_on
from cais.network.programs import run
from cais.network.records import Endpoint, Network, NetworkRecords, PublishedPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

SYSTEM_ROOT = "/var/lib/cais"
_DEFAULT_MTU = 1500
_DELETE_SECONDS = 5.0
_HAIRPIN_NEEDED = "/proc/sys/net/bridge/bridge-nf-call-iptables"


class SubnetTaken(Conflict):
    """The host has another route to the subnet of a network whose bridge was to be made."""

    def __init__(self, network: Network, route: str) -> None:
        super().__init__(
            f"cannot set up the network {network.name}: the host has another route to its subnet {route}",
            hint="Make the network anew with another --subnet.",
            exit_code=125,
        )
        self.network = network


class Bridges:
    """The bridges of one root directory's networks, and their firewall. Methods raise Unavailable (125) for what the
    host refuses, OSError for what the kernel does."""

    def __init__(self, root: str, records: NetworkRecords) -> None:
        self._lock_path = os.path.join(root, "networks.lock")
        self._records = records
        self.is_system = root == SYSTEM_ROOT
        self._table = ""

    @property
    def table(self) -> str:
        """The name of the firewall's table: each root directory has its own."""
        if not self._table:
            self._table = "cais" if self.is_system else f"cais_{self._records.get('bridge').id[:8]}"
        return self._table

    def hold(self, networks: Sequence[Network], netlink: Netlink) -> FileLock:
        """The bridges of these networks are there, and stay until the lock is released."""
        lock = FileLock(self._lock_path)
        lock.acquire(shared=True)
        try:
            if not all(self._is_up(netlink, network) for network in networks):
                lock.release()
                lock.acquire()
                # Whoever had the lock before may have made them.
                missing = [item for item in networks if not self._is_up(netlink, item)]
                if missing:
                    self._make(missing, netlink)
        except BaseException:
            lock.release()
            raise
        return lock

    def _is_up(self, netlink: Netlink, network: Network) -> bool:
        link = self.link(netlink, network)
        return link is not None and link.up

    def link(self, netlink: Netlink, network: Network) -> Link | None:
        """A network's bridge. Raises Conflict where another's interface has its name."""
        link = links.find(netlink, network.interface) if network.interface else None
        if link is not None and link.mac != _mac(network):
            raise Conflict(
                f"cannot set up the network {network.name}: the host has an interface {network.interface} that is not "
                "its bridge",
                hint="Make the network anew with another name for it (-o com.docker.network.bridge.name=NAME).",
                exit_code=125,
            )
        return link

    def is_there(self, network: Network) -> bool:
        """Whether a network's bridge stands on the host."""
        with Netlink() as netlink:
            return network.id in self._present(netlink)

    def _make(self, networks: Sequence[Network], netlink: Netlink) -> None:
        """No packet passes a bridge that the firewall does not know: it comes up when that is done."""
        host = _alone_on_host()
        try:
            for network in networks:
                self._check_routes(network, netlink)
            filtered = beside(self._filter(self._present(netlink) | {network.id for network in networks}))
            try:
                for network in networks:
                    self._make_one(network, netlink)
            finally:
                filtered()
            made = [link for network in networks if (link := self.link(netlink, network)) is not None]
            # The name server, at a bridge's own address, is asked by the loopback, which a new namespace has down.
            netlink.send([links.set_up(number) for number in (links.LOOPBACK, *(link.number for link in made))])
        finally:
            os.close(host)
        set_sysctl("net/ipv4/ip_forward", "1")

    def _make_one(self, network: Network, netlink: Netlink) -> None:
        """A bridge that is not up yet; what a killed command has made of it is made whole."""
        netlink.send([links.add_bridge(network.interface, _mac(network), mtu(network))])
        link = links.find(netlink, network.interface)
        if link is None:
            raise Unavailable(f"the bridge {network.interface} was removed by another program", exit_code=125)
        has_6 = network.pool(AF_INET6) is not None
        set_sysctl(f"net/ipv6/conf/{network.interface}/disable_ipv6", "0" if has_6 else "1")
        inhibited = is_on(network.options, INHIBIT_IPV4, False)
        netlink.send(
            [
                links.add_address(link.number, pool.gateway, pool.subnet.prefix)
                for pool in network.pools
                if pool.gateway is not None and not (inhibited and pool.subnet.family == AF_INET)
            ]
        )
        set_sysctl(f"net/ipv4/conf/{network.interface}/route_localnet", "1")
        foreign.open_for(network.interface, dns=not network.is_predefined)
        if has_6:
            _forward_6()

    def is_routed_elsewhere(self, network: Network) -> bool:
        """Whether the host has come to use a network's subnet; its bridge, which may be just going, is not the host."""
        with Netlink() as netlink:
            numbers = {
                number
                for subnet, number in links.routed_subnets(netlink)
                if any(pool.subnet.overlaps(subnet) for pool in network.pools)
            }
            return bool(numbers) and bool(numbers - self.numbers(links.all_links(netlink)))

    def _check_routes(self, network: Network, netlink: Netlink) -> None:
        for subnet, number in links.routed_subnets(netlink):
            if any(pool.subnet == subnet for pool in network.pools):
                other = links.find(netlink, number=number)
                raise SubnetTaken(network, f"{subnet}, by {other.name if other else number}")

    def _present(self, netlink: Netlink) -> set[str]:
        """The ids of the networks whose bridges are there."""
        there = {(link.name, link.mac) for link in links.all_links(netlink) if link.kind == "bridge"}
        return {item.id for item in self._records.all() if (item.interface, _mac(item)) in there}

    def filter_anew(self) -> None:
        """Puts the firewall in place as the records and the bridges that are there want it. Raises Unavailable."""
        with FileLock(self._lock_path), Netlink() as netlink:
            self._filter(self._present(netlink))()

    def numbers(self, present: Iterable[Link]) -> set[int]:
        """Those of our bridges among these links."""
        ours = {(item.interface, _mac(item)) for item in self._records.all()}
        return {link.number for link in present if link.kind == "bridge" and (link.name, link.mac) in ours}

    def _filter(self, present: Collection[str]) -> Callable[[], None]:
        """What makes the firewall that of these networks (ids): it needs no records any more, and may run beside."""
        networks = [network for network in self._records.all() if network.id in present]
        text = firewall.table(self.table, networks, self._records.ports())
        return lambda: self._nft(text)

    def _nft(self, text: str) -> None:
        ended = run("nft", "-f", "-", given=text)
        if ended is None:
            raise Unavailable(
                "nft is not installed: networks need it",
                hint="Install it (Debian: apt-get install nftables), or use --network none or host.",
                exit_code=125,
            )
        if ended.code != 0:
            why = (ended.errors.strip().splitlines() or [f"exit code {ended.code}"])[0]
            raise Unavailable(f"nft cannot set up the firewall: {why}", exit_code=125)

    def plug(self, netlink: Netlink, network: Network, endpoint: Endpoint, netns_fd: int, published: bool) -> None:
        """The link of a container, one end of it in its namespace."""
        bridge = self.link(netlink, network)
        if bridge is None:
            raise Unavailable(f"the bridge {network.interface} was removed by another program", exit_code=125)
        requests = [
            links.add_pair(endpoint.outside, bridge.number, endpoint.interface, endpoint.mac, mtu(network), netns_fd)
        ]
        isolated = not is_on(network.options, ICC, True)
        # The kernel sends what a container asks of itself by the host's address back to the port it came from.
        hairpin = published and os.path.exists(_HAIRPIN_NEEDED)
        if isolated or hairpin:
            requests.append(links.set_port(endpoint.outside, isolated=isolated, hairpin=hairpin))
        netlink.send(requests)

    def let_return(self, network: Network, endpoint: Endpoint) -> None:
        """A container has published ports now: what it asks of itself by them goes back where it came from."""
        if os.path.exists(_HAIRPIN_NEEDED):
            isolated = not is_on(network.options, ICC, True)
            with Netlink() as netlink:
                netlink.send([links.set_port(endpoint.outside, isolated=isolated, hairpin=True)])

    def unplug(self, names: Sequence[str]) -> None:
        """Takes away links of containers by the names of their ends on the host; those that are gone are no error."""
        with Netlink() as netlink:
            found = [links.find(netlink, name) for name in names]
            requests = [links.delete_link(link.number) for link in found if link is not None]
            if requests:
                netlink.send(requests)

    def publish(self, ports: Sequence[PublishedPort]) -> None:
        """Adds them to the firewall; one that does not agree with the records is made anew."""
        text = firewall.add_ports(self.table, ports)
        if not text:
            return
        ended = run("nft", "-f", "-", given=text)
        if ended is None or ended.code != 0:
            self.filter_anew()
        _forget_connections(ports)

    def unpublish(self, ports: Sequence[PublishedPort], note: Callable[[], None]) -> None:
        """Takes them from the firewall, ends their relays, and takes them by ``note`` from the records: nobody makes
        the firewall anew in between.

        Where the firewall does not know one of them (after a reboot), it has none.
        """
        lock = FileLock(self._lock_path)
        lock.acquire(shared=True)
        try:
            passed_on = [port for port in ports if not port.relayed]
            ended = run("nft", "-f", "-", given=firewall.remove_ports(self.table, passed_on)) if passed_on else None
            if ended is not None and ended.code != 0:
                for port in passed_on:
                    run("nft", "-f", "-", given=firewall.remove_ports(self.table, [port]))
            if len(passed_on) < len(ports):
                from cais.network import relays

                relays.end(self.table, ports)
            _forget_connections(ports)
            note()
        finally:
            lock.release()

    def release(self, networks: Collection[str], *, wait: bool = True) -> None:
        """Removes the bridges of those of these networks (ids) that nobody is in any more.

        Without ``wait`` they go after this has returned: who needs one meanwhile waits for the lock.
        """
        if not any(self._is_empty(id) for id in networks):
            return
        with FileLock(self._lock_path) as lock, Netlink() as netlink:
            removed = [network for id in networks if self._is_empty(id) for network in self._records.find(id)]
            bridges = [(network, links.find(netlink, network.interface)) for network in removed if network.interface]
            ours = [(network, link) for network, link in bridges if link is not None and link.mac == _mac(network)]
            present = self._present(netlink) - {network.id for network in removed}
            if not ours and present:
                return
            filter = self._filter(present)
            if not wait:
                detached(lambda: _take_down_apart(ours, filter, lock))
                return
            filtered = beside(filter)
            try:
                _take_down(ours, netlink)
            finally:
                filtered()

    def _is_empty(self, id: str) -> bool:
        return not self._records.is_used(id)

    def leftovers(self) -> list[Network]:
        """The networks whose bridge is there although nobody is in them."""
        with FileLock(self._lock_path), Netlink() as netlink:
            present = self._present(netlink)
        return [network for network in self._records.all() if network.id in present and self._is_empty(network.id)]


def _take_down(bridges: Sequence[tuple[Network, Link]], netlink: Netlink) -> None:
    for network, link in bridges:
        foreign.close_for(network.interface)
        _delete(netlink, link)


def _take_down_apart(bridges: Sequence[tuple[Network, Link]], filter: Callable[[], None], lock: FileLock) -> None:
    """In a process of its own, to which the lock is left, and nothing else that somebody may wait for.

    Killed on the way it leaves no bridge without a firewall.
    """
    os.setsid()  # Ctrl-C is not for it
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for place in (0, 1, 2):
        os.dup2(null, place)
    os.closerange(3, lock.fileno())
    os.closerange(lock.fileno() + 1, 1 << 16)
    with Netlink() as netlink:
        _take_down(bridges, netlink)
    filter()


def _alone_on_host() -> int:
    """Locks this thread's network namespace, until the descriptor is closed: of two root directories that choose the
    same subnet, one sees the other's route."""
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _delete(netlink: Netlink, link: Link) -> None:
    """The kernel takes 40 ms to say that a bridge is gone, and a few to make it so."""

    def delete() -> None:
        os.closerange(3, 1 << 16)  # a lock above all
        with Netlink() as own:
            own.send([links.delete_link(link.number)])

    detached(delete)
    deadline = time.monotonic() + _DELETE_SECONDS
    while links.find(netlink, number=link.number) is not None and time.monotonic() < deadline:
        time.sleep(0.0005)


def _forget_connections(ports: Sequence[PublishedPort]) -> None:
    if any(port.protocol == "udp" for port in ports):
        from cais.network.conntrack import forget

        forget(ports)


def mtu(network: Network) -> int:
    """Of its links, in bytes."""
    return int(network.options.get(MTU) or network.options.get("mtu") or _DEFAULT_MTU)


def _mac(network: Network) -> str:
    """Of its bridge: by it a bridge is known as ours."""
    return f"02:ca:15:{network.id[0:2]}:{network.id[2:4]}:{network.id[4:6]}"


def _forward_6() -> None:
    """Forwarding makes a host deaf to routers: links that listened to them are told to go on."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/forwarding", encoding="utf-8") as file:
            if file.read().strip() == "1":
                return
        names = os.listdir("/proc/sys/net/ipv6/conf")
    except OSError:
        return
    for name in names:
        path = f"/proc/sys/net/ipv6/conf/{name}/accept_ra"
        try:
            with open(path, encoding="utf-8") as file:
                listens = file.read().strip() == "1"
        except OSError:
            continue
        if listens and name not in ("all", "default", "lo"):
            set_sysctl(f"net/ipv6/conf/{name}/accept_ra", "2")
    set_sysctl("net/ipv6/conf/all/forwarding", "1")
