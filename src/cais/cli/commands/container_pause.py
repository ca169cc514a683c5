"""``cais container pause``, ``cais pause``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    aliases=("container pause", "pause"),
    arguments=(1, None),
    complete="running",
    examples=("cais pause web",),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    containers = call.engine.containers

    def pause(name: str) -> str:
        containers.pause(name)
        return name

    return each(call.arguments, pause)
