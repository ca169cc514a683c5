"""``cais container stats``, ``cais stats``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    aliases=("container stats", "stats"),
    arguments=(0, None),
    complete="running",
    flags=(
        Flag("all", "a", "", "Show all containers (default shows just running)"),
        Flag("format", "", "string", FORMAT, complete="table,json"),
        Flag("no-stream", "", "", "Disable streaming stats and only pull the first result"),
        Flag("no-trunc", "", "", "Do not truncate output"),
    ),
    examples=("cais stats", "cais stats --no-stream --format '{{.Name}}: {{.CPUPerc}}' web"),
)

_UNKNOWN = "--"
_SECONDS = 1.0
_HEADERS = {
    "BlockIO": "BLOCK I/O", "CPUPerc": "CPU %", "Container": "CONTAINER", "ID": "CONTAINER ID", "MemPerc": "MEM %",
    "MemUsage": "MEM USAGE / LIMIT", "Name": "NAME", "NetIO": "NET I/O", "PIDs": "PIDS",
}  # fmt: skip
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


def run(call: Call) -> int:
    import sys

    from cais.cli.table import show

    live = sys.stdout.isatty() and not call["no-stream"]
    fields = _fields(call["no-trunc"])
    if live:
        sys.stdout.write("\033[2J")
    for rows in call.engine.containers.stats(call.arguments, all=call["all"], seconds=_SECONDS):
        if live:
            sys.stdout.write("\033[H\033[J")
        show(rows, fields, _HEADERS, _COLUMNS, kind="stats", format=call["format"])
        sys.stdout.flush()
        if call["no-stream"] or (call.arguments and not rows):
            break
    return 0


def _fields(long: bool) -> dict[str, Any]:
    from cais.cli.units import binary_size, human_size

    def percent(value: float | None) -> str:
        return _UNKNOWN if value is None else f"{value:.2f}%"

    def pair(first: int | None, second: int | None, size: Any) -> str:
        if first is None and second is None:
            return _UNKNOWN
        return " / ".join(_UNKNOWN if value is None else size(value) for value in (first, second))

    return {
        "BlockIO": lambda row: pair(row.usage.read_bytes, row.usage.written_bytes, human_size),
        "CPUPerc": lambda row: percent(row.cpu_percent),
        "Container": lambda row: row.asked,
        "ID": lambda row: row.id if long else row.id[:12],
        "MemPerc": lambda row: percent(row.memory_percent),
        "MemUsage": lambda row: pair(row.usage.memory_bytes, row.usage.memory_limit_bytes, binary_size),
        "Name": lambda row: row.name,
        "NetIO": lambda row: pair(row.received_bytes, row.sent_bytes, human_size),
        "PIDs": lambda row: _UNKNOWN if row.usage.processes is None else str(row.usage.processes),
    }
