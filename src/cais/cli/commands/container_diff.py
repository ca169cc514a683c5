"""``cais container diff``, ``cais diff``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER",
    "Inspect changes to files or directories on a container's filesystem",
    aliases=("container diff", "diff"),
    arguments=(1, 1),
    complete="container",
    examples=("cais diff web",),
)


def run(call: Call) -> int:
    from cais.cli.call import say

    for kind, path in call.engine.containers.files.diff(call.arguments[0]):
        say(f"{kind} {path}")
    return 0
