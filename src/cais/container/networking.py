"""Networking: what a container asks of its networks, as a value that is kept with its plan. Pure."""

from __future__ import annotations

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cais.network.wishes import EndpointWish, PortWish

DEFAULT = "bridge"
HOST_GATEWAY = "host-gateway"
SHARED = "container:"


class Binding(NamedTuple):
    """One port of a container that should be reachable. ``host_ip`` "" is every address of the host.

    ``host_first`` 0: any free port; else one of ``host_first`` to ``host_last``.
    """

    protocol: str
    port: int
    host_ip: str = ""
    host_first: int = 0
    host_last: int = 0

    @property
    def target(self) -> str:
        """``80/tcp``."""
        return f"{self.port}/{self.protocol}"

    @property
    def host_text(self) -> str:
        """``8080``, ``8000-8010`` or ""."""
        if not self.host_first:
            return ""
        return str(self.host_first) + (f"-{self.host_last}" if self.host_last != self.host_first else "")


class Attachment(NamedTuple):
    """One network of a container. ``links`` are ``container:alias``, ``options`` ``key=value``; addresses "" are given
    by the network."""

    network: str
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    link_local: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    priority: int = 0


class Networking(NamedTuple):
    """``mode`` is ``none``, ``host``, ``container:ID`` or the name of the first network; ``networks`` are those that
    have to be joined. ``exposed`` are ``80/tcp``; ``hosts`` are ``name:address``."""

    mode: str = "none"
    networks: tuple[Attachment, ...] = ()
    ports: tuple[Binding, ...] = ()
    publish_all: bool = False
    exposed: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    domainname: str = ""

    @property
    def shared_with(self) -> str:
        """The container whose network this one uses, or ""."""
        return self.mode.removeprefix(SHARED) if self.mode.startswith(SHARED) else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its networks; ``none`` and ``host`` are some, too."""
        if self.mode in ("none", "host"):
            return (self.mode,)
        return tuple(item.network for item in self.networks)

    @property
    def wanted_ports(self) -> tuple[Binding, ...]:
        """What is to be published: with ``-P`` also what is only exposed."""
        if not self.publish_all:
            return self.ports
        bound = {binding.target for binding in self.ports}
        more = (target.partition("/")[::2] for target in self.exposed if target not in bound)
        return (*self.ports, *(Binding(protocol, int(port)) for port, protocol in more))

    def to_json(self) -> dict[str, Any]:
        """Only what is not the default."""
        value: dict[str, Any] = {"mode": self.mode}
        for name, default in self._field_defaults.items():
            item = getattr(self, name)
            if item == default:
                continue
            value[name] = [part._asdict() for part in item] if name in ("networks", "ports") else item
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Networking:
        known: dict[str, Any] = {}
        for name, item in value.items():
            if name == "networks":
                item = tuple(Attachment(**_tuples(part)) for part in item)
            elif name == "ports":
                item = tuple(Binding(**part) for part in item)
            known[name] = item
        return cls(**_tuples({name: item for name, item in known.items() if name in cls._fields}))


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}


def wish(item: Attachment, hostname: str = "", dns: Sequence[str] = ()) -> EndpointWish:
    """What the network room is asked for. ``dns``: the container's own servers; what it has on its own loopback, the
    name server of its networks could not ask."""
    from cais.network.addresses import parse_address
    from cais.network.wishes import EndpointWish

    servers = [str(parse_address(text)) for text in dns]

    return EndpointWish(
        item.network,
        item.ip,
        item.ip6,
        item.mac,
        tuple(dict.fromkeys((*item.aliases, *((hostname,) if hostname and item.network != DEFAULT else ())))),
        item.link_local,
        "",
        dict(text.partition("=")[::2] for text in item.options),
        item.priority,
        tuple(text for text in servers if not text.startswith("127.") and text != "::1"),
    )


def port_wishes(networking: Networking) -> list[PortWish]:
    """The ports that the network room is to publish."""
    from cais.network.wishes import PortWish

    return [
        PortWish(item.port, item.protocol, item.host_ip, item.host_first, item.host_last)
        for item in networking.wanted_ports
    ]
