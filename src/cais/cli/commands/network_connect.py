"""``cais network connect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    arguments=(2, 2),
    complete="network",
    flags=(
        Flag("alias", "", "strings", "Add network-scoped alias for the container"),
        Flag("driver-opt", "", "strings", "driver options for the network"),
        Flag(
            "gw-priority",
            "",
            "int",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        Flag("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        Flag("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        Flag("link", "", "list", "Add link to another container"),
        Flag("link-local-ip", "", "strings", "Add a link-local address for the container"),
    ),
    examples=("cais network connect backend web", "cais network connect --alias db --ip 10.5.0.9 backend postgres"),
)


def run(call: Call) -> int:
    from cais.cli.call import warn
    from cais.engine.networks import attachment

    network, container = call.arguments
    wanted = attachment(
        network, aliases=call["alias"], options=call["driver-opt"], priority=call["gw-priority"] or 0, ip=call["ip"],
        ip6=call["ip6"], links=call["link"], link_local=call["link-local-ip"],
    )  # fmt: skip
    call.engine.networks.connect(network, container, wanted, warn)
    return 0
