"""Networks as Docker's ``inspect`` shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from cais.network.records import Endpoint, Network
from cais.spec import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PREFIX = "com.docker.network."


def inspect(network: Network, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Docker's JSON of a network and of those who are in it."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": timestamp.format(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if network.is_predefined else dict(network.ipam_options),
            "Config": _pools(network) or (None if network.is_predefined else []),
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": dict(sorted((endpoint.container, _container(endpoint)) for endpoint in endpoints)),
        "Options": dict(sorted(options(network).items())),
        "Labels": dict(sorted(network.labels.items())),
    }


def options(network: Network) -> dict[str, str]:
    """Of the default bridge what it always has; else what was asked for."""
    if network.name != "bridge":
        return dict(network.options)
    return {
        f"{_PREFIX}bridge.default_bridge": "true",
        f"{_PREFIX}bridge.enable_icc": "true",
        f"{_PREFIX}bridge.enable_ip_masquerade": "true",
        f"{_PREFIX}bridge.host_binding_ipv4": "0.0.0.0",
        f"{_PREFIX}bridge.name": network.interface,
        f"{_PREFIX}driver.mtu": "1500",
    }


def _pools(network: Network) -> list[dict[str, Any]]:
    shown = []
    for pool in network.pools:
        value: dict[str, Any] = {"Subnet": str(pool.subnet)}
        if pool.within is not None:
            value["IPRange"] = str(pool.within)
        if pool.gateway is not None:
            value["Gateway"] = str(pool.gateway)
        if pool.reserved:
            value["AuxiliaryAddresses"] = {name: str(address) for name, address in pool.reserved.items()}
        shown.append(value)
    return shown


def _container(endpoint: Endpoint) -> dict[str, str]:
    return {
        "Name": endpoint.name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.ip4}/{endpoint.prefix4}" if endpoint.ip4 else "",
        "IPv6Address": f"{endpoint.ip6}/{endpoint.prefix6}" if endpoint.ip6 else "",
    }
