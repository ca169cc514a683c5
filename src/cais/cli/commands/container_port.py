"""``cais container port``, ``cais port``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    aliases=("container port", "port"),
    arguments=(1, 2),
    complete="running",
    examples=("cais port web", "cais port web 80/tcp"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.errors import Invalid, NotFound

    ports = call.engine.containers.ports(call.arguments[0])
    asked = call.arguments[1] if len(call.arguments) > 1 else ""
    if not asked:
        # As Docker: sorted as text, the addresses of IPv4 first.
        for port in sorted(ports, key=lambda item: (item.port, item.protocol, ":" in item.host_ip, item.host)):
            say(f"{port.port}/{port.protocol} -> {port.host}")
        return 0
    number, _, protocol = asked.partition("/")
    if not number.isascii() or not number.isdigit() or int(number) > 65535:
        raise Invalid(f"invalid port ({asked}): it is a number from 1 to 65535, with /tcp or /udp behind it")
    found = [item for item in ports if (item.port, item.protocol) == (int(number), protocol.lower() or "tcp")]
    if not found:
        raise NotFound(f"No public port '{asked}' published for {call.arguments[0]}")
    for port in sorted(found, key=lambda item: (":" in item.host_ip, item.host)):
        say(port.host)
    return 0
