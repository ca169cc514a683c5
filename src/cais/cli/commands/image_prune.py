"""``cais image prune``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Remove unused images",
    flags=(
        Flag("all", "a", "", "Remove all unused images, not just dangling ones"),
        filter_flag("", 'Provide filter values (e.g. "until=<timestamp>")'),
        force(),
    ),
    examples=("cais image prune", "cais image prune -af --filter until=240h"),
)


def run(call: Call) -> int:
    from cais.cli.call import confirmed, say
    from cais.cli.units import human_size
    from cais.cli.values import filters

    what = "all images without at least one container associated to them" if call["all"] else "all dangling images"
    if not call["force"] and not confirmed(f"WARNING! This will remove {what}.\nAre you sure you want to continue?"):
        return 0
    report = call.engine.images.prune(call["all"], filters(call["filter"]))
    if report.removed:
        say("Deleted Images:")
        for action, item in report.removed:
            say(f"{action.lower()}: {item}")
        say("")
    say(f"Total reclaimed space: {human_size(report.reclaimed_bytes)}")
    return 0
