"""``cais volume rename``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "VOLUME NEW_NAME",
    "Rename a volume\n\nContainers that have it go on with it under its new name.",
    arguments=(2, 2),
    complete="volume",
    examples=("cais volume rename data old-data",),
)


def run(call: Call) -> int:
    call.engine.volumes.rename(*call.arguments)
    return 0
