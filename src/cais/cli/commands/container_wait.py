"""``cais container wait``, ``cais wait``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    aliases=("container wait", "wait"),
    arguments=(1, None),
    complete="running",
    examples=("cais wait job",),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    containers = call.engine.containers
    return each(call.arguments, lambda name: str(containers.wait(name)))
