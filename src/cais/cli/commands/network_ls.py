"""``cais network ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List networks",
    aliases=("network ls", "network list"),
    flags=(
        filter_flag("f", 'Provide filter values (e.g. "driver=bridge")'),
        list_format(),
        Flag("no-trunc", "", "", "Do not truncate the output"),
        Flag("quiet", "q", "", "Only display network IDs"),
    ),
    examples=("cais network ls", "cais network ls --filter type=custom --format '{{.Name}}'"),
)


def run(call: Call) -> int:
    from cais.cli.table import show
    from cais.cli.values import filters

    short = None if call["no-trunc"] else 12
    show(
        call.engine.networks.list(filters(call["filter"])),
        {
            "CreatedAt": lambda network: _moment(network.created),
            "Driver": lambda network: network.driver,
            "ID": lambda network: network.id[:short],
            "IPv4": lambda network: str(network.ipv4).lower(),
            "IPv6": lambda network: str(network.ipv6).lower(),
            "Internal": lambda network: str(network.internal).lower(),
            "Labels": lambda network: ",".join(f"{key}={value}" for key, value in sorted(network.labels.items())),
            "Name": lambda network: network.name,
            "Scope": lambda network: "local",
        },
        {
            "CreatedAt": "CREATED AT", "Driver": "DRIVER", "ID": "NETWORK ID", "IPv4": "IPV4", "IPv6": "IPV6",
            "Internal": "INTERNAL", "Labels": "LABELS", "Name": "NAME", "Scope": "SCOPE",
        },
        ("ID", "Name", "Driver", "Scope"),
        kind="network",
        format=call["format"],
        quiet="ID" if call["quiet"] else "",
        methods={"Label": lambda network: lambda name: network.labels.get(name, "")},
    )  # fmt: skip
    return 0


def _moment(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e9):09} +0000 UTC"
