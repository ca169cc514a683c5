"""``cais container ls``, ``cais ps``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List containers",
    aliases=("container ls", "container list", "container ps", "ps"),
    flags=(
        Flag("all", "a", "", "Show all containers (default shows just running)"),
        filter_flag(),
        list_format(),
        Flag("last", "n", "int", "Show n last created containers (includes all states)", -1),
        Flag("latest", "l", "", "Show the latest created container (includes all states)"),
        Flag("no-trunc", "", "", "Don't truncate output"),
        Flag("quiet", "q", "", "Only display container IDs"),
        Flag("size", "s", "", "Display total file sizes"),
    ),
    examples=(
        "cais ps",
        "cais ps -aq --filter status=exited",
        "cais ps -a --format 'table {{.Names}}\\t{{.Status}}'",
    ),
)


def run(call: Call) -> int:
    import time

    from cais.cli.others import quoted
    from cais.cli.table import show
    from cais.cli.units import age, human_size, local_time
    from cais.cli.values import filters

    now = time.time()
    long = call["no-trunc"]
    limit = 1 if call["latest"] else max(0, call["last"])

    linked = call.engine.containers.linked_names() if long else {}

    def command(row: Any) -> str:
        text: str = row.command if long or len(row.command) <= 20 else row.command[:19] + "…"
        return quoted(text)

    def mounts(row: Any) -> str:
        return ",".join(name if long or len(name) <= 15 else name[:14] + "…" for name in row.mounts)

    def size(row: Any) -> str:
        if not call["size"] and call["format"] in ("", "table", "json"):
            return "0B"
        facts = call.engine.containers.inspect(row.id, size=True)
        return f"{human_size(facts['SizeRw'])} (virtual {human_size(facts['SizeRootFs'])})"

    fields = {
        "Command": command,
        "CreatedAt": lambda row: local_time(row.created),
        "ID": lambda row: row.id if long else row.id[:12],
        "Image": lambda row: row.image if long or not row.image.startswith("sha256:") else row.image[7:19],
        "Labels": lambda row: ",".join(f"{key}={value}" for key, value in sorted(row.labels.items())),
        "LocalVolumes": lambda row: str(len(row.volumes)),
        "Mounts": mounts,
        "Names": lambda row: ",".join((row.name, *linked.get(row.name, ()))),
        "Networks": lambda row: ",".join(row.networks),
        "Ports": lambda row: row.ports,
        "RunningFor": lambda row: age(row.created, now),
        "Size": size,
        "State": lambda row: row.state,
        "Status": lambda row: row.status,
    }
    headers = {
        "Command": "COMMAND", "CreatedAt": "CREATED AT", "ID": "CONTAINER ID", "Image": "IMAGE", "Labels": "LABELS",
        "LocalVolumes": "LOCAL VOLUMES", "Mounts": "MOUNTS", "Names": "NAMES", "Networks": "NETWORKS",
        "Ports": "PORTS", "RunningFor": "CREATED", "Size": "SIZE", "State": "STATE", "Status": "STATUS",
    }  # fmt: skip
    columns = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]
    if call["size"]:
        columns.append("Size")
    format = call["format"]
    if call["quiet"] and format:
        from cais.cli.call import warn

        warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        format = ""
    rows = call.engine.containers.list(all=call["all"], filters=filters(call["filter"]), limit=limit)
    show(
        rows, fields, headers, columns, kind="container", format=format, quiet="ID" if call["quiet"] else "",
        methods={"Label": lambda row: lambda name: row.labels.get(name, "")},
    )  # fmt: skip
    return 0
