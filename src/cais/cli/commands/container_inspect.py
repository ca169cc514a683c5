"""``cais container inspect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    arguments=(1, None),
    complete="container",
    flags=(inspect_format(), Flag("size", "s", "", "Display total file sizes")),
    examples=(
        "cais container inspect web",
        "cais container inspect -f '{{.State.ExitCode}}' web",
        "cais container inspect --format run web",
    ),
)


def run(call: Call) -> int:
    from cais.cli.documents import inspect

    containers = call.engine.containers
    if call["format"] == "run":
        return _commands(call)
    return inspect(call.arguments, lambda name: containers.inspect(name, size=call["size"]), call["format"])


def _commands(call: Call) -> int:
    """What makes the same container, as a line for the shell."""
    import shlex

    from cais.cli.call import each

    return each(call.arguments, lambda name: shlex.join(("cais", "run", *call.engine.containers.command_line(name))))
