"""``cais network create``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.values import label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NETWORK",
    "Create a network",
    arguments=(1, 1),
    flags=(
        Flag("attachable", "", "", "Enable manual container attachment"),
        Flag("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
        Flag("config-from", "", "string", "The network from which to copy the configuration", complete="network"),
        Flag("config-only", "", "", "Create a configuration only network"),
        Flag("driver", "d", "string", "Driver to manage the Network", "bridge", complete="bridge,macvlan,ipvlan"),
        Flag("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        Flag("ingress", "", "", "Create swarm routing-mesh network"),
        Flag("internal", "", "", "Restrict external access to the network"),
        Flag("ip-range", "", "strings", "Allocate container ip from a sub-range"),
        Flag("ipam-driver", "", "string", "IP Address Management Driver", "default"),
        Flag("ipam-opt", "", "map", "Set IPAM driver specific options"),
        Flag("ipv4", "", "", "Enable or disable IPv4 address assignment", True),
        Flag("ipv6", "", "", "Enable or disable IPv6 address assignment"),
        Flag("label", "", "list", "Set metadata on a network", check=label),
        Flag("opt", "o", "map", "Set driver specific options"),
        Flag("scope", "", "string", "Control the network's scope"),
        Flag("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
    ),
    examples=(
        "cais network create backend",
        "cais network create --subnet 10.20.0.0/24 --gateway 10.20.0.1 --internal database",
        "cais network create -d macvlan --subnet 192.0.2.0/24 -o parent=eth0 lan",
    ),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.values import key_values
    from cais.engine.networks import NetworkOptions

    network = call.engine.networks.create(
        NetworkOptions(
            call.arguments[0],
            driver=call["driver"],
            subnets=call["subnet"],
            gateways=call["gateway"],
            ip_ranges=call["ip-range"],
            aux_addresses=key_values(call["aux-address"]),
            internal=call["internal"],
            attachable=call["attachable"],
            ingress=call["ingress"],
            scope=call["scope"],
            ipv4=call["ipv4"],
            ipv6=call["ipv6"] if "ipv6" in call.said else None,
            labels=key_values(call["label"]),
            options=key_values(call["opt"]),
            ipam_driver=call["ipam-driver"],
            ipam_options=key_values(call["ipam-opt"]),
            config_only=call["config-only"],
            config_from=call["config-from"],
        )
    )
    say(network.id)
    return 0
