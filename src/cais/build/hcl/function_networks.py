"""Functions of address blocks."""

from __future__ import annotations

import ipaddress

from cais.build.hcl.values import number, text
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: Any) -> Network:
    try:
        return ipaddress.ip_network(text(value), strict=False)
    except ValueError as error:
        raise Invalid(f"invalid CIDR expression: {error}")


def host(prefix: Any, at: Any) -> str:
    network, index = _network(prefix), int(number(at))
    if not -network.num_addresses <= index < network.num_addresses:
        raise Invalid(f"{prefix} does not have a host {index}")
    return str(network[index])


def mask(prefix: Any) -> str:
    return str(_network(prefix).netmask)


def subnet(prefix: Any, bits: Any, at: Any) -> str:
    network, more, index = _network(prefix), int(number(bits)), int(number(at))
    length = network.prefixlen + more
    if more < 0 or length > network.max_prefixlen or not 0 <= index < 1 << more:
        raise Invalid(f"{prefix} has no subnet {index} of {more} more bits")
    address = int(network.network_address) + (index << (network.max_prefixlen - length))
    return f"{type(network.network_address)(address)}/{length}"


def subnets(prefix: Any, *bits: Any) -> list[str]:
    """One after the other, each where it can begin."""
    network = _network(prefix)
    at, found = int(network.network_address), []
    for more in map(int, map(number, bits)):
        length = network.prefixlen + more
        if more < 1 or length > network.max_prefixlen:
            raise Invalid(f"{prefix} cannot be extended by {more} bits")
        size = 1 << (network.max_prefixlen - length)
        at = -(-at // size) * size
        if at + size > int(network.network_address) + network.num_addresses:
            raise Invalid(f"not enough remaining address space in {prefix}")
        found.append(f"{type(network.network_address)(at)}/{length}")
        at += size
    return found
