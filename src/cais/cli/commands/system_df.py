"""``cais system df``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Show disk usage",
    flags=(list_format(), Flag("verbose", "v", "", "Show detailed information on space usage")),
    examples=("cais system df", "cais system df -v", "cais system df --format '{{.Type}} {{.Reclaimable}}'"),
)


def run(call: Call) -> int:
    from cais.cli.table import show
    from cais.cli.units import human_size

    if call["verbose"]:
        from cais.cli.usage_details import show_details

        show_details(call.engine.system.usage_details(), call["format"])
        return 0

    def reclaimable(row: Any) -> str:
        share = f" ({row.reclaimable_bytes * 100 // row.size_bytes}%)" if row.size_bytes else ""
        return human_size(row.reclaimable_bytes, 4) + share

    fields = {
        "Active": lambda row: str(row.active),
        "Reclaimable": reclaimable,
        "Size": lambda row: human_size(row.size_bytes, 4),
        "TotalCount": lambda row: str(row.total),
        "Type": lambda row: row.kind,
    }
    headers = {
        "Active": "ACTIVE", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "TotalCount": "TOTAL", "Type": "TYPE",
    }  # fmt: skip
    show(
        call.engine.system.usage(), fields, headers, ("Type", "TotalCount", "Active", "Size", "Reclaimable"),
        kind="diskUsage", format=call["format"],
    )  # fmt: skip
    return 0
