"""Which hosts are inner ones: this machine, its links, private networks. Pure; names are not resolved."""

from __future__ import annotations

import ipaddress


def is_inner(address: str) -> bool:
    """Of an IP address as text, with or without a scope. What is no address counts as inner."""
    try:
        found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        embedded = found.ipv4_mapped or found.sixtofour
        if embedded is None and found in _NAT64:
            embedded = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        found = embedded or found
    return not found.is_global or found.is_multicast


def is_inner_name(host: str) -> bool:
    """What can be told of a URL's host without asking for its address."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return is_inner(name)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
