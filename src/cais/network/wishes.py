"""What a container asks of its networks, and what it gets: the values that ``Networks.join`` takes and returns."""

from __future__ import annotations

from cais.network.records import Endpoint, PublishedPort
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class EndpointWish(NamedTuple):
    """``network`` is an id, the start of one, or a name. ``interface`` "" is the next of eth0, eth1, ...

    ``dns`` are addresses of the servers to ask for what is no name of the networks; () are the host's.
    """

    network: str
    ip4: str = ""
    ip6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()
    interface: str = ""
    options: Mapping[str, str] = {}
    gateway_priority: int = 0
    dns: tuple[str, ...] = ()


class PortWish(NamedTuple):
    """One port to publish. ``host_port`` 0 is any free one; with ``host_port_last`` the first free one up to there.

    ``host_ip`` "" is what the network says, else every address of the host.
    """

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_last: int = 0


class Joined(NamedTuple):
    """``endpoints`` in the order of the interfaces. ``dns``: the name servers inside the networks that know the other
    containers; empty where only the host's own are asked. ``reserved``: descriptors of sockets bound to the published
    ports, close-on-exec: who keeps them open (conmon, given them as they are) keeps other programs off the ports; the
    caller closes its own.
    """

    endpoints: tuple[Endpoint, ...]
    ports: tuple[PublishedPort, ...] = ()
    dns: tuple[str, ...] = ()
    reserved: tuple[int, ...] = ()
