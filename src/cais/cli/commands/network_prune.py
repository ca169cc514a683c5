"""``cais network prune``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import filter_flag, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Remove all unused networks",
    flags=(filter_flag("", 'Provide filter values (e.g. "until=<timestamp>")'), force()),
    examples=("cais network prune -f --filter until=24h",),
)


def run(call: Call) -> int:
    from cais.cli.call import confirmed, say
    from cais.cli.values import filters

    question = (
        "WARNING! This will remove all custom networks not used by at least one container.\n"
        "Are you sure you want to continue?"
    )
    if not call["force"] and not confirmed(question):
        return 0
    removed = call.engine.networks.prune(filters(call["filter"]))
    if removed:
        say("Deleted Networks:")
        for name in removed:
            say(name)
        say("")
    return 0
