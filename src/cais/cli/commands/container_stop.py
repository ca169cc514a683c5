"""``cais container stop``, ``cais stop``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop one or more running containers",
    aliases=("container stop", "stop"),
    arguments=(1, None),
    complete="running",
    flags=(
        Flag("signal", "s", "string", "Signal to send to the container"),
        Flag("time", "", "int", hidden=True),
        Flag("timeout", "t", "int", "Seconds to wait before killing the container"),
    ),
    examples=("cais stop web", "cais stop -t 1 web"),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    containers = call.engine.containers
    timeout_seconds = call["timeout"] if call["timeout"] is not None else call["time"]

    def stop(name: str) -> str:
        containers.stop(name, timeout_seconds, call["signal"])
        return name

    return each(call.arguments, stop)
