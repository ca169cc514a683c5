"""``cais system prune``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Remove unused data",
    flags=(
        Flag("all", "a", "", "Remove all unused images not just dangling ones"),
        filter_flag("", 'Provide filter values (e.g. "label=<key>=<value>")'),
        force(),
        Flag("volumes", "", "", "Prune anonymous volumes"),
    ),
    examples=("cais system prune", "cais system prune -af --volumes", "cais system prune -f --filter until=24h"),
)
_KEYS = ("label", "label!", "until")


def run(call: Call) -> int:
    from cais.cli.call import confirmed, say
    from cais.cli.units import human_size
    from cais.cli.values import filters
    from cais.errors import Invalid

    chosen = filters(call["filter"])
    for key in chosen:
        if key not in _KEYS:
            raise Invalid(f"invalid filter '{key}'")
    if call["volumes"] and "until" in chosen:
        raise Invalid('The "until" filter is not supported with "--volumes"')
    if not call["force"] and not confirmed(_warning(call)):
        return 0
    engine = call.engine
    containers = engine.containers.prune(chosen)
    _tell("Deleted Containers:", containers.removed)
    reclaimed = containers.reclaimed_bytes
    labels = {key: value for key, value in chosen.items() if key != "until"}
    _tell("Deleted Networks:", engine.networks.prune(chosen))
    if call["volumes"]:
        volumes = engine.volumes.prune(filters=labels)
        _tell("Deleted Volumes:", volumes.removed)
        reclaimed += volumes.reclaimed_bytes
    images = engine.images.prune(call["all"], chosen)
    _tell("Deleted Images:", [f"{action.lower()}: {item}" for action, item in images.removed])
    reclaimed += images.reclaimed_bytes
    if not labels:  # nothing in the build cache has labels
        from cais.engine.build_prune import PruneOptions

        until = [f"until={text}" for text in chosen.get("until", ())]
        cache = engine.builder.prune(PruneOptions(all=call["all"], filters=until), "cais system prune")
        _tell("Deleted build cache objects:", [entry.id for entry in cache.entries])
        reclaimed += cache.reclaimed_bytes
    say(f"Total reclaimed space: {human_size(reclaimed)}")
    return 0


def _warning(call: Call) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if call["volumes"]:
        lines.append("all anonymous volumes not used by at least one container")
    if call["all"]:
        lines += ["all images without at least one container associated to them", "all build cache"]
    else:
        lines += ["all dangling images", "unused build cache"]
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if call["filter"]:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {item}\n" for item in call["filter"])
    return text + "\nAre you sure you want to continue?"


def _tell(title: str, removed: Sequence[str]) -> None:
    from cais.cli.call import say

    if removed:
        say("\n".join((title, *removed, "")))
