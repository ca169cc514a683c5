"""Connections that the kernel remembers: those of a UDP port are forgotten when it is published and when it is not any
more. Who goes on sending would go on being sent where the first packet went."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack

from cais.network.addresses import AF_INET, AF_INET6
from cais.network.netlink import NESTED, Netlink, NetlinkError, Request, attribute
from cais.network.records import PublishedPort

_NETFILTER = 12
_DELETE = 1 << 8 | 2
_TUPLE_ORIG, _TUPLE_PROTO, _PROTO_NUMBER, _PROTO_DESTINATION = 1, 2, 1, 3
_FILTER, _FILTER_FLAGS, _BY_PROTOCOL, _BY_DESTINATION = 25, 1, 1 << 3, 1 << 5
_UDP = 17


def forget(ports: Iterable[PublishedPort]) -> None:
    """Of the UDP ports among them. A kernel before 5.8 cannot choose, and forgets in its own time (30 seconds)."""
    requests = [_request(port) for port in ports if port.protocol == "udp"]
    if requests:
        try:
            with Netlink(_NETFILTER) as netlink:
                netlink.send(requests)
        except NetlinkError:
            pass


def _request(port: PublishedPort) -> Request:
    family = AF_INET6 if ":" in port.host_ip else AF_INET
    protocol = attribute(_PROTO_NUMBER, bytes([_UDP])) + attribute(_PROTO_DESTINATION, pack(">H", port.host_port))
    original = attribute(_TUPLE_ORIG | NESTED, attribute(_TUPLE_PROTO | NESTED, protocol))
    chosen = attribute(_FILTER | NESTED, attribute(_FILTER_FLAGS, _BY_PROTOCOL | _BY_DESTINATION))
    return Request(_DELETE, 0, pack("=BBH", family, 0, 0) + original + chosen)
