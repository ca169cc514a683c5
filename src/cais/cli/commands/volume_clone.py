"""``cais volume clone``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.values import label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME[@SNAPSHOT] NEW_NAME",
    "Create a volume with the files of another one, or of a snapshot\n\nContainers that use it stand still meanwhile.",
    arguments=(2, 2),
    complete="volume",
    flags=(Flag("label", "", "list", "Set metadata for the new volume, instead of that of the old one", check=label),),
    examples=("cais volume clone data data-test", "cais volume clone data@monday data-test"),
)


def run(call: Call) -> int:
    from cais.cli.call import say, warn
    from cais.cli.values import key_values

    source, name = call.arguments
    labels = key_values(call["label"]) if call["label"] else None
    say(call.engine.volumes.clone(source, name, labels, warn).name)
    return 0
