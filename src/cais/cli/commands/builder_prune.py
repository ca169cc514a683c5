"""``cais builder prune``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Remove build cache",
    flags=(
        Flag("all", "a", "", "Include what images have, too, and internal/frontend images"),
        Flag("dry-run", "", "", "Show what would be removed, and remove nothing"),
        Flag("filter", "", "list", 'Provide filter values (e.g., "until=24h", "name=builder")'),
        force(),
        Flag("keep", "", "int", "Keep what the last so many builds used", 0),
        Flag("keep-storage", "", "bytes", "Amount of disk space to keep for cache", 0),
        Flag("max-used-space", "", "bytes", "Maximum amount of disk space allowed to keep for cache", 0),
        Flag("min-free-space", "", "bytes", "Target amount of free disk space after pruning", 0),
        Flag("reserved-space", "", "bytes", "Amount of disk space always allowed to keep for cache", 0),
        Flag("verbose", "", "", "Provide a more verbose output"),
    ),
    examples=(
        "cais builder prune",
        "cais builder prune -af --filter until=24h",
        "cais builder prune --dry-run --keep 3",
        "cais builder prune -f --max-used-space 10g",
    ),
)


def run(call: Call) -> int:
    import sys

    from cais.cli.call import confirmed
    from cais.cli.commands.builder_du import pretty, table
    from cais.cli.units import human_size
    from cais.engine.build_prune import PruneOptions
    from cais.errors import Invalid

    sizes = {name: call[name] or 0 for name in ("keep-storage", "reserved-space", "max-used-space", "min-free-space")}
    for name, size in sizes.items():
        if size < 0:
            raise Invalid(f"--{name} is {size}, less than nothing")
    if call["keep"] < 0:
        raise Invalid(f"--keep is {call['keep']}, less than nothing")
    what = "all build cache" if call["all"] else "all dangling build cache"
    question = f"WARNING! This will remove {what}. Are you sure you want to continue?"
    if not (call["force"] or call["dry-run"] or confirmed(question)):
        return 0
    report = call.engine.builder.prune(
        PruneOptions(
            all=call["all"],
            filters=call["filter"],
            keep_builds=call["keep"],
            # The older name of the same.
            reserved_bytes=sizes["reserved-space"] or sizes["keep-storage"],
            max_used_bytes=sizes["max-used-space"],
            min_free_bytes=sizes["min-free-space"],
            dry_run=call["dry-run"],
        )
    )
    if call["verbose"]:
        sys.stdout.write("".join(map(pretty, report.entries)))
    elif report.entries:
        sys.stdout.write("".join(table(report.entries)))
    sys.stdout.write(f"Total:\t{human_size(report.reclaimed_bytes, 4)}\n")
    return 0
