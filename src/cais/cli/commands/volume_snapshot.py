"""``cais volume snapshot``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "VOLUME [NAME]",
    "Keep the files of a volume as they are now\n\nContainers that use it stand still meanwhile. Without a name the "
    "snapshot is called by the time.\nVOLUME@NAME stands for it in inspect, clone, export, cp and rm; "
    "'cais volume ls --snapshots' lists all.",
    arguments=(1, 2),
    complete="volume",
    examples=("cais volume snapshot data monday", "cais volume rm data@monday"),
)


def run(call: Call) -> int:
    from cais.cli.call import say, warn

    name, *snapshot = call.arguments
    taken = call.engine.volumes.snapshot(name, "".join(snapshot), warn)
    say(f"{taken.volume}@{taken.name}")
    return 0
