"""``cais volume ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List volumes",
    aliases=("volume ls", "volume list"),
    flags=(
        filter_flag("f", 'Provide filter values (e.g. "dangling=true")'),
        list_format(),
        Flag("quiet", "q", "", "Only display volume names"),
    ),
    examples=("cais volume ls", "cais volume ls -q --filter dangling=true"),
)


def run(call: Call) -> int:
    from cais.cli.table import show
    from cais.cli.values import filters

    fields = {
        "Availability": lambda volume: "N/A",
        "Driver": lambda volume: "local",
        "Group": lambda volume: "N/A",
        "Labels": lambda volume: ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
        "Links": lambda volume: "N/A",
        "Mountpoint": lambda volume: volume.path,
        "Name": lambda volume: volume.name,
        "Scope": lambda volume: "local",
        "Size": lambda volume: "N/A",
        "Status": lambda volume: "N/A",
    }
    headers = {
        "Availability": "AVAILABILITY", "Driver": "DRIVER", "Group": "GROUP", "Labels": "LABELS", "Links": "LINKS",
        "Mountpoint": "MOUNTPOINT", "Name": "VOLUME NAME", "Scope": "SCOPE", "Size": "SIZE", "Status": "STATUS",
    }  # fmt: skip
    methods = {"Label": lambda volume: lambda name: volume.labels.get(name, "")}
    show(
        call.engine.volumes.list(filters(call["filter"])), fields, headers, ("Driver", "Name"),
        kind="volume", format=call["format"], quiet="Name" if call["quiet"] else "", methods=methods,
    )  # fmt: skip
    return 0
