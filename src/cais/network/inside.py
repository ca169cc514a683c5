"""Inside a network namespace: work that a thread of its own does there, and the links of a container configured."""

from __future__ import annotations

from cais.host import syscalls
from cais.network import links
from cais.network.addresses import AF_INET, AF_INET6, Address, parse_address
from cais.network.netlink import Netlink, Request
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from cais.network.records import Endpoint, Network
    from cais.network.wishes import EndpointWish

    T = TypeVar("T")

CLONE_NEWNET = 0x40000000


class Interface(NamedTuple):
    """A link inside: its name, ``addresses`` with the length of their prefix, and where the default routes go (an
    address each; ``direct`` families go straight out of the link)."""

    name: str
    addresses: Sequence[tuple[Address, int]]
    gateways: Sequence[Address] = ()
    direct: Sequence[int] = ()


def interface(network: Network, endpoint: Endpoint, wish: EndpointWish) -> Interface:
    """The link of a container in a network, as it has to be inside."""
    addresses: list[tuple[Address, int]] = []
    gateways: list[Address] = []
    direct: list[int] = []
    for text, prefix, gateway, is_default, family in (
        (endpoint.ip4, endpoint.prefix4, endpoint.gateway4, endpoint.default4, AF_INET),
        (endpoint.ip6, endpoint.prefix6, endpoint.gateway6, endpoint.default6, AF_INET6),
    ):
        if text:
            addresses.append((parse_address(text), prefix))
            if is_default and _is_direct(network):
                direct.append(family)
            elif is_default and gateway:
                gateways.append(parse_address(gateway))
    for text in wish.link_local:
        address = parse_address(text)
        addresses.append((address, 16 if address.family == AF_INET else 64))
    return Interface(endpoint.interface, addresses, gateways, direct)


def _is_direct(network: Network) -> bool:
    """Whether the default route has no gateway: an ipvlan on the third layer knows no neighbours."""
    return network.driver == "ipvlan" and network.options.get("ipvlan_mode") in ("l3", "l3s")


def within(netns_fd: int, action: Callable[[], T]) -> T:
    """What ``action`` returns in that network namespace; this thread stays where it is. Raises what it raises."""
    from cais.host.beside import beside

    def enter_and_act() -> T:
        syscalls.setns(netns_fd, CLONE_NEWNET)
        return action()

    return beside(enter_and_act)()


def configure(netns_fd: int, interfaces: Sequence[Interface]) -> None:
    """Loopback and the links up, with addresses and routes. Raises NetlinkError, OSError."""
    within(netns_fd, lambda: _configure(interfaces))


def _configure(interfaces: Sequence[Interface]) -> None:
    with Netlink() as netlink:
        requests: list[Request] = [links.set_up(links.LOOPBACK)]
        for item in interfaces:
            link = links.find(netlink, item.name)
            if link is None:
                continue  # its owner is gone already, and the namespace with it
            has_6 = any(address.family == AF_INET6 for address, _ in item.addresses)
            set_sysctl(f"net/ipv6/conf/{item.name}/disable_ipv6", "0" if has_6 else "1")
            requests += [links.add_address(link.number, address, prefix) for address, prefix in item.addresses]
            requests.append(links.set_up(link.number))
            requests += [links.add_default_route(link.number, gateway) for gateway in item.gateways]
            requests += [links.add_default_route(link.number, None, family) for family in item.direct]
        netlink.send(requests)


def remove_link(netns_fd: int, name: str) -> None:
    """Takes a link away inside; with a veth its other end goes, too."""

    def remove() -> None:
        with Netlink() as netlink:
            link = links.find(netlink, name)
            if link is not None:
                netlink.send([links.delete_link(link.number)])

    within(netns_fd, remove)


def route(netns_fd: int, name: str, gateway: Address) -> None:
    """The default route goes through ``gateway`` by the link ``name``."""

    def change() -> None:
        with Netlink() as netlink:
            link = links.find(netlink, name)
            if link is not None:
                netlink.send([links.add_default_route(link.number, gateway)])

    within(netns_fd, change)


def link_names(netns_fd: int) -> set[str]:
    """The names of all links inside."""

    def names() -> set[str]:
        with Netlink() as netlink:
            return {link.name for link in links.all_links(netlink)}

    return within(netns_fd, names)


def is_silent(netns_fd: int) -> bool:
    """Whether no TCP connection is left of what ran in that namespace, not even one whose time to end has not come:
    it would keep its port from who comes next."""

    def look() -> bool:
        for name in ("sockstat", "sockstat6"):
            try:
                with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                    found = [line.split() for line in file if line.startswith("TCP")]
            except FileNotFoundError:
                continue  # a kernel without IPv6
            for words in found:
                counts = dict(zip(words[1::2], words[2::2], strict=True))
                if counts["inuse"] != "0" or counts.get("tw", "0") != "0":
                    return False
        return True

    return within(netns_fd, look)


def set_sysctl(name: str, value: str) -> bool:
    """Writes a sysctl (``net/ipv4/ip_forward``) of this thread's network namespace.

    False where this host does not allow it, or has no such thing.
    """
    try:
        with open(f"/proc/sys/{name}", "r+", encoding="utf-8") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except OSError:
        return False
    return True
