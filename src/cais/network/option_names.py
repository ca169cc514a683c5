"""The names of Docker's driver options that networks know."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BRIDGE_NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
INHIBIT_IPV4 = "com.docker.network.bridge.inhibit_ipv4"
INTERFACE_PREFIX = "com.docker.network.container_iface_prefix"
MODE_IPV4 = "com.docker.network.bridge.gateway_mode_ipv4"
MODE_IPV6 = "com.docker.network.bridge.gateway_mode_ipv6"
INTERFACE = "com.docker.network.endpoint.ifname"

_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def is_on(options: Mapping[str, str], name: str, otherwise: bool) -> bool:
    """Whether a switch is on; ``otherwise`` where it is not said."""
    return options[name] not in _FALSE if name in options else otherwise
