"""``cais volume restore``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "VOLUME SNAPSHOT",
    "Put the files of a snapshot in place of those of its volume\n\nNo container that runs may use it. The snapshot "
    "stays.",
    arguments=(2, 2),
    complete="volume",
    examples=("cais volume restore data monday",),
)


def run(call: Call) -> int:
    from cais.cli.call import say

    name, snapshot = call.arguments
    call.engine.volumes.restore(name, snapshot)
    say(name)
    return 0
