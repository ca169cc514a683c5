"""``cais volume prune``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Remove unused local volumes",
    flags=(
        Flag("all", "a", "", "Remove all unused volumes, not just anonymous ones"),
        filter_flag("", 'Provide filter values (e.g. "label=<label>")'),
        force(),
    ),
    examples=("cais volume prune", "cais volume prune -af", "cais volume prune --filter kind=cache"),
)


def run(call: Call) -> int:
    from cais.cli.call import confirmed, say
    from cais.cli.units import human_size
    from cais.cli.values import filters

    what = "all local volumes not used by at least one container"
    chosen = filters(call["filter"])
    if "kind" in chosen and "local" not in chosen["kind"]:
        what = "all cache mounts that no build has in use"
    elif not call["all"]:
        what = "anonymous local volumes not used by at least one container"
    if not call["force"] and not confirmed(f"WARNING! This will remove {what}.\nAre you sure you want to continue?"):
        return 0
    report = call.engine.volumes.prune(all=call["all"], filters=chosen)
    if report.removed:
        say("Deleted Volumes:")
        for name in report.removed:
            say(name)
        say("")
    say(f"Total reclaimed space: {human_size(report.reclaimed_bytes)}")
    return 0
