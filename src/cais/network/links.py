"""Links, addresses and routes as requests of rtnetlink. Pure but for the questions at the end."""

from __future__ import annotations

import errno
from struct import pack, unpack_from

from cais.network.addresses import AF_INET, AF_INET6, Address, Subnet
from cais.network.netlink import CREATE, EXCL, NESTED, REPLACE, Netlink, Request, attribute, attributes
from cais.spec.named import NamedTuple

# The first link of every network namespace.
LOOPBACK = 1

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR = 20
_NEWROUTE, _GETROUTE = 24, 26
_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _NET_NS_FD = 1, 3, 4, 5, 10, 18, 28
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_PORT_HAIRPIN, _PORT_ISOLATED = 4, 33
_VETH_PEER = 1
_UP = 1
_NODAD = 0x02

_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


class Link(NamedTuple):
    """``number`` is its index, ``master`` that of the bridge that it is a port of, or 0; ``kind`` ("bridge", "veth")
    is "" where it has none; ``mac`` as text."""

    number: int
    name: str
    kind: str
    master: int
    mac: str
    up: bool


def _header(index: int = 0, *, up: bool = False) -> bytes:
    return pack("=BxHiII", 0, 0, index, _UP if up else 0, _UP if up else 0)


def _info(kind: str, data: bytes = b"") -> bytes:
    inside = attribute(_INFO_KIND, kind)
    if data:
        inside += attribute(_INFO_DATA | NESTED, data)
    return attribute(_LINKINFO | NESTED, inside)


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


def add_bridge(name: str, mac: str, mtu: int) -> Request:
    body = _header() + attribute(_IFNAME, name) + attribute(_ADDRESS, mac_bytes(mac)) + attribute(_MTU, mtu)
    return Request(_NEWLINK, CREATE | EXCL, body + _info("bridge"), (errno.EEXIST,))


def add_pair(name: str, bridge: int, inside: str, mac: str, mtu: int, netns_fd: int) -> Request:
    """A veth pair: one end a port of ``bridge``, and up; the other called ``inside`` in the namespace."""
    peer = _header() + attribute(_IFNAME, inside) + attribute(_NET_NS_FD, netns_fd) + attribute(_MTU, mtu)
    peer += attribute(_ADDRESS, mac_bytes(mac))
    body = _header(up=True) + attribute(_IFNAME, name) + attribute(_MTU, mtu) + attribute(_MASTER, bridge)
    return Request(_NEWLINK, CREATE | EXCL, body + _info("veth", attribute(_VETH_PEER | NESTED, peer)))


def set_port(name: str, *, isolated: bool, hairpin: bool) -> Request:
    """Of a bridge. Isolated ports do not reach each other; with ``hairpin`` what came in by a port may go out by it."""
    data = attribute(_PORT_HAIRPIN, bytes([hairpin])) + attribute(_PORT_ISOLATED, bytes([isolated]))
    info = attribute(_INFO_SLAVE_KIND, "bridge") + attribute(_INFO_SLAVE_DATA | NESTED, data)
    return Request(_NEWLINK, 0, _header() + attribute(_IFNAME, name) + attribute(_LINKINFO | NESTED, info))


def add_macvlan(parent: int, inside: str, mac: str, mtu: int, netns_fd: int, mode: str) -> Request:
    body = _header() + attribute(_IFNAME, inside) + attribute(_LINK, parent) + attribute(_NET_NS_FD, netns_fd)
    body += attribute(_ADDRESS, mac_bytes(mac)) + (attribute(_MTU, mtu) if mtu else b"")
    return Request(_NEWLINK, CREATE | EXCL, body + _info("macvlan", attribute(1, _MACVLAN_MODES[mode])))


def add_ipvlan(parent: int, inside: str, mtu: int, netns_fd: int, mode: str, flag: str) -> Request:
    body = _header() + attribute(_IFNAME, inside) + attribute(_LINK, parent) + attribute(_NET_NS_FD, netns_fd)
    body += attribute(_MTU, mtu) if mtu else b""
    data = attribute(1, pack("=H", _IPVLAN_MODES[mode])) + attribute(2, pack("=H", _IPVLAN_FLAGS[flag]))
    return Request(_NEWLINK, CREATE | EXCL, body + _info("ipvlan", data))


def add_vlan(parent: int, name: str, tag: int) -> Request:
    """The link of one VLAN of ``parent``."""
    body = _header(up=True) + attribute(_IFNAME, name) + attribute(_LINK, parent)
    return Request(_NEWLINK, CREATE | EXCL, body + _info("vlan", attribute(1, pack("=H", tag))))


def add_dummy(name: str) -> Request:
    return Request(_NEWLINK, CREATE | EXCL, _header(up=True) + attribute(_IFNAME, name) + _info("dummy"))


def delete_link(index: int) -> Request:
    return Request(_DELLINK, 0, _header(index), (errno.ENODEV,))


def set_up(index: int) -> Request:
    return Request(_NEWLINK, 0, _header(index, up=True))


def add_address(index: int, address: Address, prefix: int) -> Request:
    """Usable at once: an IPv6 address that we chose is not asked for in the network first."""
    is_6 = address.family == AF_INET6
    body = pack("=BBBBI", address.family, prefix, _NODAD if is_6 else 0, 0, index)
    body += attribute(1, address.packed) + attribute(2, address.packed)
    if not is_6 and prefix < 31:
        broadcast = address.number | (1 << (32 - prefix)) - 1
        body += attribute(4, Address(AF_INET, broadcast).packed)
    return Request(_NEWADDR, CREATE | REPLACE, body)


def add_default_route(index: int, gateway: Address | None, family: int = AF_INET) -> Request:
    """Through ``gateway``, or (None) straight out of the link."""
    kind = family if gateway is None else gateway.family
    scope = 253 if gateway is None and kind == AF_INET else 0
    body = pack("=BBBBBBBBI", kind, 0, 0, 0, 254, 3, scope, 1, 0) + attribute(4, index)
    if gateway is not None:
        body += attribute(5, gateway.packed)
    return Request(_NEWROUTE, CREATE | REPLACE, body)


def find(netlink: Netlink, name: str = "", number: int = 0) -> Link | None:
    """The link with a name, or with a number."""
    answer = netlink.ask(Request(_GETLINK, 0, _header(number) + (attribute(_IFNAME, name) if name else b"")))
    return None if answer is None else _link(answer)


def all_links(netlink: Netlink) -> list[Link]:
    return [_link(answer) for answer in netlink.dump(Request(_GETLINK, 0, _header()))]


def _link(answer: bytes) -> Link:
    index, flags = unpack_from("=iI", answer, 4)
    found = attributes(answer, 16)
    info = attributes(found.get(_LINKINFO, b""))
    return Link(
        index,
        found[_IFNAME].rstrip(b"\0").decode("utf-8", "replace"),
        info.get(_INFO_KIND, b"").rstrip(b"\0").decode(),
        unpack_from("=I", found[_MASTER])[0] if _MASTER in found else 0,
        ":".join(f"{byte:02x}" for byte in found.get(_ADDRESS, b"")),
        bool(flags & _UP),
    )


def routed_subnets(netlink: Netlink) -> list[tuple[Subnet, int]]:
    """What the host has routes to in its main table, but for the default routes: (subnet, index of the link)."""
    routes = []
    for family in (AF_INET, AF_INET6):
        for answer in netlink.dump(Request(_GETROUTE, 0, pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0))):
            prefix, table, kind = answer[1], answer[4], answer[7]
            if prefix == 0 or table != 254 or kind != 1:
                continue
            found = attributes(answer, 12)
            if 1 in found:
                index = unpack_from("=I", found[4])[0] if 4 in found else 0
                routes.append((Subnet(family, int.from_bytes(found[1], "big"), prefix), index))
    return routes
