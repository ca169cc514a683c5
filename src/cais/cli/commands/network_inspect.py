"""``cais network inspect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    arguments=(1, None),
    complete="network",
    flags=(inspect_format(), Flag("verbose", "v", "", "Verbose output for diagnostics")),
    examples=("cais network inspect -f '{{json .IPAM.Config}}' bridge",),
)


def run(call: Call) -> int:
    from cais.cli.documents import inspect

    networks = call.engine.networks
    # --verbose adds what a swarm knows of a network, and there is none.
    return inspect(call.arguments, networks.inspect, call["format"])
