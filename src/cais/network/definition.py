"""A new network as it is asked for, checked and made whole with Docker's defaults and words. Pure."""

from __future__ import annotations

from cais.errors import Conflict, Denied, Invalid, NotFound, Unsupported
from cais.network.addresses import AF_INET, AF_INET6, Address, Subnet, parse_address, parse_interface, parse_subnet
from cais.network.option_names import (
    BRIDGE_NAME,
    HOST_BINDING,
    ICC,
    INHIBIT_IPV4,
    MASQUERADE,
    MODE_IPV4,
    MODE_IPV6,
    MTU,
)
from cais.network.records import PREDEFINED, Network, Pool
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MODE_WORDS = ("", "nat", "nat-unprotected", "routed")
_INTERFACE_LIMIT = 15

DRIVERS = ("bridge", "macvlan", "ipvlan")
_MACVLAN_MODES = ("", "private", "vepa", "bridge", "passthru")
_IPVLAN_MODES = ("", "l2", "l3", "l3s")
_IPVLAN_FLAGS = ("", "bridge", "private", "vepa")

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class NetworkOptions(NamedTuple):
    """Docker's flags, as they were given. ``ipv6`` None: only where a subnet of it is given."""

    name: str
    driver: str = "bridge"
    subnets: Sequence[str] = ()
    gateways: Sequence[str] = ()
    ip_ranges: Sequence[str] = ()
    aux_addresses: Mapping[str, str] = {}
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    scope: str = ""
    ipv4: bool = True
    ipv6: bool | None = None
    labels: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    ipam_driver: str = "default"
    ipam_options: Mapping[str, str] = {}
    config_only: bool = False
    config_from: str = ""


def define(
    wanted: NetworkOptions, id: str, now: float, others: Sequence[Network], unused: Callable[[int], Subnet]
) -> Network:
    """``unused`` gives a subnet of a family that nobody has.

    Raises Invalid, Conflict, Denied, NotFound, Unsupported.
    """
    _check_name(wanted, others)
    pools = _pools(wanted)
    options, labels = dict(wanted.options), dict(wanted.labels)
    ipv6 = bool(wanted.ipv6)
    driver, chosen = wanted.driver or "bridge", False
    ipam_options = dict(wanted.ipam_options)
    if wanted.config_from:
        source = _source(wanted, others)
        pools, options, labels, ipam_options = list(source.pools), dict(source.options), dict(source.labels), {}
        ipv6 = ipv6 or source.ipv6
    elif not wanted.config_only:
        _check_driver(driver)
    if wanted.config_only:
        return Network(
            id, wanted.name, "null", now, pools=tuple(pools), internal=wanted.internal, ipv4=wanted.ipv4, ipv6=ipv6,
            attachable=wanted.attachable, config_only=True, options=options, labels=labels, ipam_options=ipam_options,
        )  # fmt: skip
    if not wanted.ipv4 and not ipv6:
        raise Invalid("IPv4 or IPv6 must be enabled")
    _check_options(driver, options)
    ipv6 = ipv6 or (wanted.ipv6 is None and any(pool.subnet.family == AF_INET6 for pool in pools))
    if not wanted.ipv4 and any(pool.subnet.family == AF_INET for pool in pools):
        raise Invalid("an IPv4 subnet cannot be used with --ipv4=false")
    if wanted.ipv6 is False:
        pools = [pool for pool in pools if pool.subnet.family == AF_INET]
    for pool in pools:
        if any(pool.subnet.overlaps(mine.subnet) for mine in pools if mine is not pool):
            raise Invalid("multiple overlapping subnet configuration is not supported")
        if any(pool.subnet.overlaps(their.subnet) for other in others for their in _held(other)):
            raise Conflict("Pool overlaps with other one on this address space")
    for family, on in ((AF_INET, wanted.ipv4), (AF_INET6, ipv6)):
        if on and not any(pool.subnet.family == family for pool in pools):
            pools.append(Pool(unused(family), None))
            chosen = chosen or family == AF_INET
    pools = [_with_gateway(pool) for pool in pools]
    interface = options.get("parent", "")
    if driver == "bridge":
        interface = options.get(BRIDGE_NAME) or f"br-{id[:12]}"
        if any(other.interface == interface for other in others):
            raise Conflict(f"network with bridge name {interface} already exists")
    return Network(
        id, wanted.name, driver, now, interface, tuple(pools), chosen, wanted.internal, wanted.ipv4, ipv6,
        wanted.attachable, config_from=wanted.config_from, options=options, labels=labels, ipam_options=ipam_options,
    )  # fmt: skip


def _held(network: Network) -> Sequence[Pool]:
    return () if network.config_only else network.pools


def _check_name(wanted: NetworkOptions, others: Sequence[Network]) -> None:
    name = wanted.name
    if not name.strip() or any(ord(character) < 32 or character == "\x7f" for character in name):
        raise Invalid(f"invalid name: {name!r}" if name.strip() else "invalid name:", hint="A network needs a name.")
    if name in (*PREDEFINED, "default") or name.startswith("container:"):
        raise Denied(f"operation is not permitted on predefined {name} network")
    if any(other.name == name for other in others):
        raise Conflict(f"network with name {name} already exists")
    if wanted.ingress:
        raise Unsupported("Ingress network can only be global scope network", hint="Cais has no swarm.")
    if wanted.scope not in ("", "local"):
        raise Unsupported(
            f"cannot create a {wanted.scope} scoped network when swarm is not active", hint="Cais has no swarm."
        )
    if wanted.ipam_driver not in ("", "default"):
        raise NotFound(f'plugin "{wanted.ipam_driver}" not found')
    if wanted.config_only and wanted.config_from:
        raise Invalid("a configuration network cannot depend on another configuration network")


def _source(wanted: NetworkOptions, others: Sequence[Network]) -> Network:
    source = next((other for other in others if wanted.config_from in (other.name, other.id)), None)
    if source is None or not source.config_only:
        if source is None:
            raise NotFound(f'configuration network "{wanted.config_from}" does not exist')
        raise Invalid(f'"{wanted.config_from}" is not a configuration network')
    own = wanted.options or wanted.labels or wanted.subnets or wanted.ipam_options or wanted.ipv6
    if own:
        raise Invalid(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    return source


def _check_driver(driver: str) -> None:
    if driver in ("host", "null", "none"):
        raise Denied(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Unsupported(
            "This node is not a swarm manager.", hint="Cais has no swarm; the drivers are bridge, macvlan and ipvlan."
        )
    if driver not in DRIVERS:
        raise NotFound(f'plugin "{driver}" not found', hint="The drivers are bridge, macvlan and ipvlan.")


def _check_options(driver: str, options: Mapping[str, str]) -> None:
    for key in (MTU, "mtu"):
        text = options.get(key, "")
        if text.removeprefix("-").isdigit() and not 68 <= int(text) <= 65535:
            raise Invalid(f"invalid MTU number: {text}")
        if text and not (text.isascii() and text.isdigit()):
            raise Invalid(f'failed to parse {key} value: {text} (strconv.Atoi: parsing "{text}": invalid syntax)')
    if driver == "bridge":
        _check_bridge_options(options)
        return
    modes, default = (_MACVLAN_MODES, "bridge") if driver == "macvlan" else (_IPVLAN_MODES, "l2")
    mode, flag = options.get(f"{driver}_mode", ""), options.get("ipvlan_flag", "")
    if mode not in modes:
        raise Invalid(f"requested {driver} mode '{mode}' is not valid, '{default}' mode is the {driver} driver default")
    if flag not in _IPVLAN_FLAGS:
        raise Invalid(f"requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default")
    _check_interface(options.get("parent", ""), "parent")


def _check_bridge_options(options: Mapping[str, str]) -> None:
    for key in (ICC, MASQUERADE, INHIBIT_IPV4):
        text = options.get(key, "true")
        if text not in _TRUE and text not in _FALSE:
            why = f'strconv.ParseBool: parsing "{text}": invalid syntax'
            raise Invalid(f"failed to parse {key} value: {text} ({why})")
    for key in (MODE_IPV4, MODE_IPV6):
        if options.get(key, "") not in _MODE_WORDS:
            raise Invalid(f"unknown gateway mode {options[key]}", hint="It is nat, nat-unprotected or routed.")
    _check_interface(options.get(BRIDGE_NAME, ""), "bridge")
    host = options.get(HOST_BINDING, "")
    try:
        if host and parse_address(host).family != AF_INET:
            raise ValueError
    except ValueError:
        raise Invalid(f"failed to parse {HOST_BINDING} value: {host} (it is no IPv4 address)")


def _check_interface(name: str, what: str) -> None:
    plain = name.isascii() and name.isprintable() and not set(name) & set(' /"\\')
    if name and (len(name) > _INTERFACE_LIMIT or not plain or name in (".", "..")):
        raise Invalid(
            f"invalid {what} name {name!r}",
            hint=f"The name of an interface has at most {_INTERFACE_LIMIT} characters, no slash and no space.",
        )


def _pools(wanted: NetworkOptions) -> list[Pool]:
    """The subnets with what belongs to each, as Docker's client puts them together."""
    if (wanted.ip_ranges or wanted.gateways) and len(wanted.subnets) < max(len(wanted.ip_ranges), len(wanted.gateways)):
        raise Invalid("every ip-range or gateway must have a corresponding subnet")
    pools: list[Pool] = []
    for text in wanted.subnets:
        try:
            address, block = parse_interface(text)
        except ValueError:
            raise Invalid(f"invalid network config:\ninvalid subnet {text}: invalid CIDR block notation")
        if address.number != block.number:
            raise Invalid(f"invalid network config:\ninvalid subnet {text}: it should be {block}")
        if any(block.overlaps(pool.subnet) for pool in pools):
            raise Invalid("multiple overlapping subnet configuration is not supported")
        pools.append(Pool(block, None))
    for text in wanted.ip_ranges:
        try:
            within = parse_subnet(text)
        except ValueError:
            raise Invalid(f"invalid network config:\ninvalid ip-range {text}: invalid CIDR block notation")
        index = _index(pools, Address(within.family, within.number), f"no matching subnet for range {text}")
        if within.prefix < pools[index].subnet.prefix:
            raise Invalid(f"no matching subnet for range {text}")
        if pools[index].within is not None:
            both, subnet = f"{text}, {pools[index].within}", pools[index].subnet
            raise Invalid(f"cannot configure multiple ranges ({both}) on the same subnet ({subnet})")
        pools[index] = pools[index]._replace(within=within)
    for text in wanted.gateways:
        address = _address(text, f"invalid network config:\ninvalid gateway {text}: invalid address")
        index = _index(pools, address, f"no matching subnet for gateway {text}")
        if pools[index].gateway is not None:
            both, subnet = f"{text}, {pools[index].gateway}", pools[index].subnet
            raise Invalid(f"cannot configure multiple gateways ({both}) for the same subnet ({subnet})")
        pools[index] = pools[index]._replace(gateway=address)
    for name, text in wanted.aux_addresses.items():
        address = _address(text, f"invalid network config:\ninvalid auxiliary address {name}: invalid address: {text}")
        index = _index(pools, address, f"no matching subnet for aux-address {text}")
        pools[index] = pools[index]._replace(reserved={**pools[index].reserved, name: address})
    return pools


def _index(pools: Sequence[Pool], address: Address, otherwise: str) -> int:
    for index, pool in enumerate(pools):
        if pool.subnet.has(address):
            return index
    raise Invalid(otherwise)


def _address(text: str, otherwise: str) -> Address:
    try:
        return parse_address(text)
    except ValueError:
        raise Invalid(otherwise)


def _with_gateway(pool: Pool) -> Pool:
    """Where none is given it is the first address of the range, or of the subnet."""
    if pool.gateway is not None:
        return pool
    from cais.network.addresses import next_free

    taken = {address.number for address in pool.reserved.values()}
    gateway = next_free(pool.within or pool.subnet, pool.subnet, taken)
    if gateway is None:
        raise Invalid(f"the subnet {pool.subnet} has no address for a gateway", hint="Give it a shorter prefix.")
    return pool._replace(gateway=gateway)
