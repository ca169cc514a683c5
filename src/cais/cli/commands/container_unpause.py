"""``cais container unpause``, ``cais unpause``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    aliases=("container unpause", "unpause"),
    arguments=(1, None),
    complete="running",
    examples=("cais unpause web",),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    containers = call.engine.containers

    def unpause(name: str) -> str:
        containers.unpause(name)
        return name

    return each(call.arguments, unpause)
