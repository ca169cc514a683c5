"""``cais network disconnect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NETWORK CONTAINER",
    "Disconnect a container from a network",
    arguments=(2, 2),
    complete="network",
    flags=(Flag("force", "f", "", "Force the container to disconnect from a network"),),
    examples=("cais network disconnect backend web",),
)


def run(call: Call) -> int:
    call.engine.networks.disconnect(call.arguments[0], call.arguments[1], force=call["force"])
    return 0
