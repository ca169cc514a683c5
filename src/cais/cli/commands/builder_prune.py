"""``cais builder prune``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]", "Remove build cache", flags=(force(),), examples=("cais builder prune", "cais builder prune -f")
)


def run(call: Call) -> int:
    from cais.cli.call import confirmed, say
    from cais.cli.units import human_size

    if not call["force"] and not confirmed(
        "WARNING! This will remove all build cache.\nAre you sure you want to continue?"
    ):
        return 0
    say(f"Total:\t{human_size(call.engine.builder.prune())}")
    return 0
