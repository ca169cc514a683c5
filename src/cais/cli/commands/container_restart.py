"""``cais container restart``, ``cais restart``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Restart one or more containers",
    aliases=("container restart", "restart"),
    arguments=(1, None),
    complete="container",
    flags=(
        Flag("signal", "s", "string", "Signal to send to the container"),
        Flag("time", "", "int", hidden=True),
        Flag("timeout", "t", "int", "Seconds to wait before killing the container"),
    ),
    examples=("cais restart web", "cais restart -t 1 -s INT web"),
)


def run(call: Call) -> int:
    from cais.cli.call import each, warn

    containers = call.engine.containers
    timeout_seconds = call["timeout"] if call["timeout"] is not None else call["time"]

    def restart(name: str) -> str:
        containers.restart(name, timeout_seconds, call["signal"], warn=warn)
        return name

    return each(call.arguments, restart)
