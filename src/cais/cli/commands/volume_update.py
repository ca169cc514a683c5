"""``cais volume update``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.values import label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME",
    "Change the labels of a volume",
    arguments=(0, 1),
    complete="volume",
    flags=(
        Flag("availability", "", "string", hidden=True),
        Flag("label", "", "list", "Add or change a label", check=label),
        Flag("label-rm", "", "list", "Remove a label, by its key"),
    ),
    examples=("cais volume update --label team=web --label-rm old data",),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.values import key_values
    from cais.errors import Invalid

    if not call.arguments or "availability" in call.said or not (call["label"] or call["label-rm"]):
        # Docker's words: it has this command for the volumes of a swarm only.
        raise Invalid("Can only update cluster volumes", hint="Of a local volume: --label KEY=VALUE, --label-rm KEY.")
    (name,) = call.arguments
    call.engine.volumes.relabel(name, key_values(call["label"]), call["label-rm"])
    say(name)
    return 0
