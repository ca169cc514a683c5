"""``cais network rm``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "NETWORK [NETWORK...]",
    "Remove one or more networks",
    aliases=("network rm", "network remove"),
    arguments=(1, None),
    complete="network",
    flags=(Flag("force", "f", "", "Do not error if the network does not exist"),),
    examples=("cais network rm backend",),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    networks = call.engine.networks

    def remove(name: str) -> str | None:
        return name if networks.remove(name, force=call["force"]) else None

    return each(call.arguments, remove)
