"""Who gets which address: the part of joining that happens in the records. Everything is noted before it is made."""

from __future__ import annotations

from cais.errors import CaisError, Conflict, Denied, Invalid, Unavailable
from cais.host.database import Transaction
from cais.host.files import random_name
from cais.network.addresses import AF_INET, AF_INET6, Address, mac_of, next_free, parse_address
from cais.network.option_names import INTERFACE, INTERFACE_PREFIX
from cais.network.records import Endpoint, Network, NetworkRecords, Pool
from cais.network.wishes import EndpointWish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_NAMES_LIMIT = 15


def endpoint(
    records: NetworkRecords, change: Transaction, network: Network, container: str, name: str, wish: EndpointWish,
    used: Collection[str],
) -> Endpoint:  # fmt: skip
    """The place of a container in a network, noted: its addresses are nobody else's. ``used``: names of its interfaces.

    Raises Invalid, Conflict, Denied, Unavailable (no address left).
    """
    check(network, wish)
    taken = records.taken(network.id)
    four = _lease(network, network.pool(AF_INET) if network.ipv4 else None, wish.ip4, taken)
    six = _lease(network, network.pool(AF_INET6) if network.ipv6 else None, wish.ip6, taken)
    pool4, pool6 = network.pool(AF_INET), network.pool(AF_INET6)
    id = random_name(32)
    mac = wish.mac or (mac_of(four) if four else _random_mac())
    found = Endpoint(
        id,
        network.id,
        network.name,
        container,
        name,
        _interface(network, wish, used),
        outside=f"veth{id[:11]}" if network.driver == "bridge" else "",
        mac=mac.lower().replace("-", ":"),
        ip4=str(four) if four else "",
        prefix4=pool4.subnet.prefix if four and pool4 else 0,
        gateway4=_gateway(network, pool4) if four else "",
        ip6=str(six) if six else "",
        prefix6=pool6.subnet.prefix if six and pool6 else 0,
        gateway6=_gateway(network, pool6) if six else "",
        names=tuple(dict.fromkeys((name, *wish.aliases, container[:12]))),
        aliases=tuple(wish.aliases),
        dns=tuple(wish.dns),
    )
    records.add_endpoint(change, found)
    return found


def check(network: Network, wish: EndpointWish) -> None:
    """Whether the network can be joined this way at all. Raises Invalid, Denied with Docker's words."""
    if network.config_only:
        raise Denied(
            f"cannot use configuration-only network: {network.name}",
            hint="It only holds settings: make a network from it (network create --config-from).",
            exit_code=125,
        )
    own = wish.ip4 or wish.ip6
    if own and network.name == "bridge":
        raise Invalid(
            "invalid config for network bridge: invalid endpoint settings:\n"
            "user specified IP address is supported on user defined networks only",
            exit_code=125,
        )
    if wish.aliases and network.is_predefined:
        raise Invalid("network-scoped alias is supported only for containers in user defined networks", exit_code=125)
    if own and network.chosen:
        raise Invalid(
            f"invalid config for network {network.name}: invalid endpoint settings:\n"
            "user specified IP address is supported only when connecting to networks with user configured subnets",
            exit_code=125,
        )
    for text, family, version in ((wish.ip4, AF_INET, "IPv4"), (wish.ip6, AF_INET6, "IPv6")):
        if not text:
            continue
        address = _address(text, family, version)
        if not any(pool.subnet.has(address) for pool in network.pools):
            raise Invalid(
                f"invalid config for network {network.name}: invalid endpoint settings:\n"
                f"no configured subnet contains IP address {text}",
                exit_code=125,
            )
    if wish.mac and not is_mac(wish.mac):
        raise Invalid(f"invalid MAC address: {wish.mac}", exit_code=125)


def is_mac(text: str) -> bool:
    """Whether this is a hardware address of one machine, written with colons or hyphens."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) != 2 or set(part) - set("0123456789abcdefABCDEF") for part in parts):
        return False
    return not int(parts[0], 16) & 1


def _address(text: str, family: int, version: str) -> Address:
    try:
        address = parse_address(text)
        if address.family != family:
            raise ValueError
    except ValueError:
        raise Invalid(f"invalid endpoint settings:\ninvalid {version} address: {text}", exit_code=125)
    return address


def _lease(network: Network, pool: Pool | None, wanted: str, taken: set[str]) -> Address | None:
    if pool is None:
        return None
    if wanted:
        address = parse_address(wanted)
        pool = next(pool for pool in network.pools if pool.subnet.has(address))
        if str(address) in taken or address == pool.gateway or address in pool.reserved.values():
            raise Conflict("Address already in use", hint=f"Choose another than {address}.", exit_code=125)
        return address
    used = {parse_address(text).number for text in taken}
    used |= {address.number for address in pool.reserved.values()}
    if pool.gateway is not None:
        used.add(pool.gateway.number)
    found = next_free(pool.within or pool.subnet, pool.subnet, used)
    if found is None:
        raise _full(network, pool)
    return found


def _full(network: Network, pool: Pool) -> CaisError:
    return Unavailable(
        f"no available IPv4 addresses on this network's address pools: {network.name} ({network.id})".replace(
            "IPv4", "IPv4" if pool.subnet.family == AF_INET else "IPv6"
        ),
        exit_code=125,
    )


def _gateway(network: Network, pool: Pool | None) -> str:
    if pool is None or pool.gateway is None or (network.internal and network.driver != "bridge"):
        return ""
    return str(pool.gateway)


def _interface(network: Network, wish: EndpointWish, used: Collection[str]) -> str:
    name = wish.interface or wish.options.get(INTERFACE, "")
    if not name:
        prefix = network.options.get(INTERFACE_PREFIX) or "eth"
        return next(f"{prefix}{number}" for number in range(1 << 16) if f"{prefix}{number}" not in used)
    plain = name.isascii() and name.isprintable() and not set(name) & set(" /:%")
    if len(name) > _NAMES_LIMIT or not plain or name in (".", "..", "lo"):
        raise Invalid(f"invalid interface name: {name}", exit_code=125)
    if name in used:
        raise Conflict(f"the container has an interface {name} already", exit_code=125)
    return name


def _random_mac() -> str:
    raw = random_name(5)
    return ":".join(["02", *(raw[start : start + 2] for start in range(0, 10, 2))])


def default_gateway(networks: Sequence[Network], wishes: Sequence[EndpointWish], family: int) -> int | None:
    """Which of them the default route goes through: the highest priority, then the first by name. None for none."""
    usable = [
        (-wish.gateway_priority, network.name, index)
        for index, (network, wish) in enumerate(zip(networks, wishes, strict=True))
        if not network.internal and (pool := network.pool(family)) is not None and pool.gateway is not None
    ]
    return min(usable)[2] if usable else None
