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
    from cais.cli.call import error_text, warn
    from cais.errors import CaisError

    old, new = call.arguments
    try:
        call.engine.containers.rename(old, new)
    except CaisError as error:
        warn(error_text(error))
        if old and new:
            warn(f"Error: failed to rename container named {old}")
        return 1
    return 0
