"""``cais container rename``, ``cais rename``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER NEW_NAME",
    "Rename a container",
    aliases=("container rename", "rename"),
    arguments=(2, 2),
    complete="container",
    examples=("cais rename web web-old",),
)


def run(call: Call) -> int:
    call.engine.containers.rename(call.arguments[0], call.arguments[1])
    return 0
