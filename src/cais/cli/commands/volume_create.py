"""``cais volume create``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.values import label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [VOLUME]",
    "Create a volume",
    arguments=(0, 1),
    flags=(
        Flag("driver", "d", "string", "Specify volume driver name", "local", complete="local,"),
        Flag("label", "", "list", "Set metadata for a volume", check=label),
        Flag("name", "", "string", hidden=True),
        Flag("opt", "o", "map", hidden=True),
    ),
    examples=("cais volume create data", "cais volume create --label team=web data"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.values import key_values
    from cais.errors import Invalid

    name = "".join(call.arguments)
    if call["name"]:
        if name:
            raise Invalid(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
            )
        name = call["name"]
    volume = call.engine.volumes.create(
        name, driver=call["driver"], options=key_values(call["opt"]), labels=key_values(call["label"])
    )
    say(volume.name)
    return 0
