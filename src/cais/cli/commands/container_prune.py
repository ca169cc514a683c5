"""``cais container prune``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import filter_flag, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Remove all stopped containers",
    flags=(filter_flag("", 'Provide filter values (e.g. "until=<timestamp>")'), force()),
    examples=("cais container prune", "cais container prune -f --filter until=24h"),
)


def run(call: Call) -> int:
    from cais.cli.call import confirmed, say
    from cais.cli.units import human_size
    from cais.cli.values import filters

    if not call["force"] and not confirmed(
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"
    ):
        return 0
    report = call.engine.containers.prune(filters(call["filter"]))
    if report.removed:
        say("Deleted Containers:")
        for id in report.removed:
            say(id)
        say("")
    say(f"Total reclaimed space: {human_size(report.reclaimed_bytes)}")
    return 0
