"""``cais container debug``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    "Have a shell with its own tools in a container that may have none.\n\nThe tools are those of another image; the "
    "container's file system is at /target, its processes, network and host name are there. Nothing stays behind in "
    "the container but what is changed below /target. Of one that does not run the file system alone is shown.",
    arguments=(1, None),
    interspersed=False,
    complete="container",
    flags=(Flag("image", "", "string", "Image that has the tools", "busybox", complete="image"),),
    examples=("cais container debug web", "cais container debug --image tools web ss -tln"),
)


def run(call: Call) -> int:
    import os

    name, *command = call.arguments
    terminal = os.isatty(0) and os.isatty(1)
    return call.engine.containers.debug(name, command, image=call["image"], terminal=terminal)
