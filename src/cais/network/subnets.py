"""Subnets that nobody has: neither the host's routes nor another network of ours."""

from __future__ import annotations

from cais.errors import Unavailable
from cais.network import links
from cais.network.addresses import AF_INET, AF_INET6, Subnet, free_subnet
from cais.network.netlink import Netlink
from cais.network.records import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def unused(networks: Sequence[Network], family: int) -> Subnet:
    """The first of Docker's pools that is free; of IPv6, of a prefix of this root directory's own (RFC 4193).

    Raises Unavailable.
    """
    used = [pool.subnet for network in networks for pool in network.pools]
    used += [subnet for subnet, _ in host_routes()]
    if family == AF_INET:
        found = free_subnet(used)
    else:
        seed = next((network.id for network in networks if network.name == "bridge"), "0" * 10)
        prefix = (0xFD << 120) | (int(seed[:10], 16) << 80)
        pieces = (Subnet(AF_INET6, prefix | number << 64, 64) for number in range(1 << 16))
        found = next((piece for piece in pieces if not any(piece.overlaps(other) for other in used)), None)
    if found is None:
        raise Unavailable("all predefined address pools have been fully subnetted")
    return found


def host_routes() -> list[tuple[Subnet, int]]:
    with Netlink() as netlink:
        return links.routed_subnets(netlink)
