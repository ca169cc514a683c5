"""``cais volume rm``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    aliases=("volume rm", "volume remove"),
    arguments=(1, None),
    complete="volume",
    flags=(Flag("force", "f", "", "Force the removal of one or more volumes"),),
    examples=("cais volume rm data", "cais volume rm data@monday"),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    volumes = call.engine.volumes

    def remove(name: str) -> str:
        volumes.remove(name, force=call["force"])
        return name

    return each(call.arguments, remove)
