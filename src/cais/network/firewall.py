"""Firewall: one nftables table of ours, which says all that our networks need. Other tables are never touched.

The whole table is a function of the records (``table``); it is put in place of the old one by one transaction when a
bridge comes or goes. A published port is one element of a map: added and taken away by itself.

    any4, at4   what is published on every address of the host, and on one: to which container's address and port
    raw         nobody reaches the host's loopback through a bridge, though its packets are routed there
    prerouting  what comes for a published port, from outside or from a container
    output      what the host itself sends to one, by its loopback, too; not by IPv6's, from where nothing is answered
    postrouting the addresses of containers do not leave the host; a container reaches itself by the host's address
    forward     into a bridge only answers and what is published; from one network to another nothing
"""

from __future__ import annotations

from cais.network.addresses import AF_INET, AF_INET6
from cais.network.option_names import MASQUERADE, MODE_IPV4, MODE_IPV6, is_on
from cais.network.records import ANY, Network, PublishedPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MODES = {AF_INET: MODE_IPV4, AF_INET6: MODE_IPV6}
_OPEN_MODES = ("nat-unprotected", "routed")


def table(name: str, networks: Sequence[Network], ports: Iterable[PublishedPort]) -> str:
    """The transaction that makes the table anew; that removes it, where no network has a bridge."""
    text = f"add table inet {name}\ndelete table inet {name}\n"
    if not networks:
        return text
    bridges = [f'"{network.interface}"' for network in networks]
    text += f"table inet {name} {{\n"
    text += _collection("set bridges", "ifname", bridges)
    text += _collection("set within", "ifname . ifname", [f"{item} . {item}" for item in bridges])
    text += _collection("set internal", "ifname", [f'"{item.interface}"' for item in networks if item.internal])
    elements: dict[str, list[str]] = {"any4": [], "at4": [], "any6": [], "at6": []}
    for collection, key, value in _elements(ports):
        elements[collection].append(f"{key} : {value}")
    for collection, items in elements.items():
        address = f"ipv{collection[-1]}_addr"
        first = "" if collection.startswith("any") else f"{address} . "
        kind = f"{first}inet_proto . inet_service : {address} . inet_service"
        text += _collection(f"map {collection}", kind, items)
    text += _CHAINS.replace("{per_network}", "".join(map(_masquerade, networks))).replace(
        "{unprotected}", "".join(map(_unprotected, networks))
    )
    return text + "}\n"


_CHAINS = """
  chain published {
    dnat ip to ip daddr . meta l4proto . th dport map @at4
    dnat ip to meta l4proto . th dport map @any4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6
    dnat ip6 to meta l4proto . th dport map @any6
  }
  chain raw {
    type filter hook prerouting priority raw
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr 127.0.0.0/8 return
    fib daddr type local jump published
  }
  chain output {
    type nat hook output priority -100
    ip6 daddr ::1 return
    fib daddr type local jump published
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
{per_network}  }
  chain forward {
    type filter hook forward priority filter - 1
    iifname . oifname @within accept
    oifname @bridges goto inward
    iifname @internal drop
  }
  chain inward {
    ct state established,related accept
    iifname @bridges drop
    oifname @internal drop
    ct status dnat accept
{unprotected}    drop
  }
"""


def _collection(head: str, kind: str, elements: Sequence[str]) -> str:
    inside = f"; elements = {{ {', '.join(elements)} }}" if elements else ""
    return f"  {head} {{ type {kind}{inside}; }}\n"


def _masquerade(network: Network) -> str:
    text = ""
    for pool in network.pools:
        name, family = network.interface, pool.subnet.family
        source = f"{'ip' if family == AF_INET else 'ip6'} saddr {pool.subnet}"
        # Asked for by the host's address, and answered by a neighbour: the answer must come back through the host.
        text += f'    {source} oifname "{name}" ct status dnat masquerade\n'
        if (
            is_on(network.options, MASQUERADE, True)
            and not network.internal
            and network.options.get(_MODES[family]) != "routed"
        ):
            text += f'    {source} oifname != "{name}" masquerade\n'
    return text


def _unprotected(network: Network) -> str:
    return "".join(
        f'    oifname "{network.interface}" meta nfproto {"ipv4" if family == AF_INET else "ipv6"} accept\n'
        for family, option in _MODES.items()
        if network.options.get(option) in _OPEN_MODES
    )


def _elements(ports: Iterable[PublishedPort]) -> Iterator[tuple[str, str, str]]:
    """(map, key, value) of what the kernel passes on."""
    return (_element(port) for port in ports if not port.relayed)


def _element(port: PublishedPort) -> tuple[str, str, str]:
    family = "6" if ":" in port.host_ip else "4"
    key, value = f"{port.protocol} . {port.host_port}", f"{port.target_ip} . {port.target_port}"
    if port.host_ip in ANY:
        return f"any{family}", key, value
    return f"at{family}", f"{port.host_ip} . {key}", value


def add_ports(name: str, ports: Iterable[PublishedPort]) -> str:
    """The transaction that publishes them."""
    return "".join(
        f"add element inet {name} {collection} {{ {key} : {value} }}\n" for collection, key, value in _elements(ports)
    )


def remove_ports(name: str, ports: Iterable[PublishedPort]) -> str:
    """The transaction that takes them away."""
    return "".join(f"delete element inet {name} {collection} {{ {key} }}\n" for collection, key, _ in _elements(ports))
