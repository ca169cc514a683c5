"""``cais builder history rm``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [BUILD...]",
    "Remove records of builds\n\nOnly logs and records go: the build cache and the images stay.",
    arguments=(0, None),
    complete="build",
    flags=(Flag("all", "", "", "Remove all build records"),),
    examples=("cais builder history rm 3f2a1b", "cais builder history rm ^1 ^2", "cais builder history rm --all"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.errors import Invalid

    if call["all"] == bool(call.arguments):
        raise Invalid("either builds or --all must be given", hint="cais builder history ls lists the builds.")
    for id in call.engine.builder.forget(None if call["all"] else call.arguments):
        say(id)
    return 0
