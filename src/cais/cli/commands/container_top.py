"""``cais container top``, ``cais top``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    aliases=("container top", "top"),
    arguments=(1, None),
    interspersed=False,
    complete="running",
    examples=("cais top web", "cais top web -o pid,comm"),
)


def run(call: Call) -> int:
    from cais.cli.others import put

    titles, rows = call.engine.containers.top(call.arguments[0], call.arguments[1:])
    table = [titles, *rows]
    # Docker's columns: at least 20 wide with three spaces behind each.
    widths = [max(20, *(len(row[index]) + 3 for row in table if index < len(row))) for index in range(len(titles))]
    for row in table:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)]
        put("".join(cells) + row[-1] + "\n")
    return 0
