"""``cais container kill``, ``cais kill``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Kill one or more running containers",
    aliases=("container kill", "kill"),
    arguments=(1, None),
    complete="running",
    flags=(Flag("signal", "s", "string", "Signal to send to the container"),),
    examples=("cais kill web", "cais kill -s HUP web"),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    containers = call.engine.containers

    def kill(name: str) -> str:
        containers.kill(name, call["signal"] or "KILL")
        return name

    return each(call.arguments, kill)
