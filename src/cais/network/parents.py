"""macvlan and ipvlan: links that stand on an interface of the host and are containers' own in its network."""

from __future__ import annotations

import errno
from collections.abc import Callable

from cais.errors import CaisError, NotFound, Unavailable, Unsupported
from cais.host.namespaces import in_user_namespace
from cais.network import links
from cais.network.netlink import Netlink, NetlinkError
from cais.network.option_names import MTU
from cais.network.records import Endpoint, Network


def plug(netlink: Netlink, network: Network, endpoint: Endpoint, netns_fd: int, note: Callable[[], None]) -> None:
    """A link of the network's driver in the namespace; ``note`` is called before a parent is made for it.

    Raises NotFound (parent), Unsupported, Unavailable.
    """
    parent = _parent(netlink, network, note)
    mtu = int(network.options.get(MTU) or network.options.get("mtu") or 0)
    if network.driver == "macvlan":
        mode = network.options.get("macvlan_mode") or "bridge"
        request = links.add_macvlan(parent, endpoint.interface, endpoint.mac, mtu, netns_fd, mode)
    else:
        mode, flag = network.options.get("ipvlan_mode") or "l2", network.options.get("ipvlan_flag") or "bridge"
        request = links.add_ipvlan(parent, endpoint.interface, mtu, netns_fd, mode, flag)
    try:
        netlink.send([request])
    except NetlinkError as error:
        raise _explained(error, network, network.driver)


def _parent(netlink: Netlink, network: Network, note: Callable[[], None]) -> int:
    name = _name(network)
    found = links.find(netlink, name)
    if found is not None:
        return found.number
    try:
        if not network.interface:
            note()
            netlink.send([links.add_dummy(name)])  # containers among themselves
        else:
            below, _, tag = name.rpartition(".")
            link = links.find(netlink, below) if below else None
            if link is None or not tag.isdigit() or not 0 < int(tag) < 4095:
                hint = "Its parent (-o parent=) is an interface of the host, or one with a VLAN's number: eth0.10."
                if in_user_namespace():
                    hint = "An ordinary user's networks have none of the host's interfaces: use a bridge, or be root."
                raise NotFound(
                    f"cannot set up the network {network.name}: the host has no interface {name}",
                    hint=hint,
                    exit_code=125,
                )
            note()
            netlink.send([links.add_vlan(link.number, name, int(tag))])
    except NetlinkError as error:
        raise _explained(error, network, "vlan" if network.interface else "dummy")
    made = links.find(netlink, name)
    if made is None:
        raise Unavailable(f"the interface {name} was removed by another program", exit_code=125)
    return made.number


def remove(netlink: Netlink, network: Network) -> None:
    """Takes away the parent that was made for the network."""
    link = links.find(netlink, _name(network))
    if link is not None and link.kind in ("dummy", "vlan"):
        netlink.send([links.delete_link(link.number)])


def _name(network: Network) -> str:
    return network.interface or f"dm-{network.id[:12]}"


def _explained(error: NetlinkError, network: Network, kind: str) -> CaisError:
    if error.errno == errno.EOPNOTSUPP:
        return Unsupported(
            f"cannot set up the network {network.name}: the kernel of this host has no {kind} interfaces",
            hint=f"Load its module where there is one: modprobe {kind}"
            + ("; or give the network a parent (-o parent=)." if kind == "dummy" else "."),
            exit_code=125,
        )
    return Unavailable(f"cannot set up the network {network.name}: {error.strerror}", exit_code=125)
