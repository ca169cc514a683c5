"""``cais builder du``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cais.cli.call import Call
    from cais.engine.build_cache import CacheEntry

COMMAND = Command(
    "[OPTIONS]",
    "Disk usage",
    flags=(
        Flag("filter", "", "list", 'Provide filter values (e.g., "type=regular", "description~=apt")'),
        Flag("format", "", "string", 'Format the output ("table", "pretty", "json", or a Go template)', "table",
             complete="table,pretty,json"),
        Flag("verbose", "", "", "Shorthand for --format=pretty"),
    ),
    examples=("cais builder du", "cais builder du --verbose --filter description~=apt"),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    found = call.engine.builder.cache(call["filter"])
    format = "pretty" if call["verbose"] else call["format"]
    if format == "table":
        sys.stdout.write("".join(table(found)) + totals_text(found))
    elif format == "pretty":
        sys.stdout.write("".join(map(pretty, found)) + totals_text(found))
    else:
        _templated(found, format)
    return 0


def table(found: Sequence[CacheEntry]) -> list[str]:
    """The lines of buildx's table: a star behind the id of what can change, and behind a size that images share."""
    import time

    from cais.cli.units import human_size

    now = time.time()
    lines = [HEADER]
    for entry in found:
        id = entry.id + ("*" if entry.mutable else "")
        size = human_size(entry.size_bytes, 4) + ("*" if entry.shared else "")
        lines.append(f"{id:<40}\t{_truth(not entry.in_use):<5}\t\t{size:<10}\t{_ago(entry.used, now)}\n")
    return lines


HEADER = "ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED\n"


def pretty(entry: CacheEntry) -> str:
    """One entry in full, as buildx's --verbose has it."""
    import time

    from cais.cli.units import human_size, local_time

    lines = [("ID", entry.id)]
    if entry.parents:
        lines.append(("Parents", "\n\t\t".join(entry.parents)))
    lines += [
        ("Created at", local_time(entry.created)),
        ("Mutable", _truth(entry.mutable)),
        ("Reclaimable", _truth(not entry.in_use)),
        ("Shared", _truth(entry.shared)),
        ("Size", human_size(entry.size_bytes, 4)),
    ]
    if entry.description:
        lines.append(("Description", entry.description))
    lines += [("Usage count", str(entry.uses)), ("Last used", _ago(entry.used, time.time())), ("Type", entry.type)]
    return "".join(f"{name}:\t{'	' if len(name) < 7 else ''}{value}\n" for name, value in lines) + "\n"


def totals_text(found: Sequence[CacheEntry]) -> str:
    """The lines at the end."""
    from cais.cli.units import human_size
    from cais.engine.build_cache import totals

    sums = totals(list(found))
    text = ""
    if sums.shared:
        text = f"Shared:\t\t{human_size(sums.shared, 4)}\nPrivate:\t{human_size(sums.private, 4)}\n"
    return text + f"Reclaimable:\t{human_size(sums.reclaimable, 4)}\nTotal:\t\t{human_size(sums.total, 4)}\n"


def _templated(found: Sequence[CacheEntry], format: str) -> None:
    import time

    from cais.cli.table import show
    from cais.cli.units import human_size, local_time

    now = time.time()
    fields: dict[str, Any] = {
        "CreatedAt": lambda entry: local_time(entry.created),
        "Description": lambda entry: entry.description,
        "ID": lambda entry: entry.id,
        "LastUsedAt": lambda entry: _ago(entry.used, now),
        "Mutable": lambda entry: entry.mutable,
        "Parents": lambda entry: list(entry.parents),
        "Reclaimable": lambda entry: not entry.in_use,
        "Shared": lambda entry: entry.shared,
        "Size": lambda entry: human_size(entry.size_bytes, 4),
        "Type": lambda entry: entry.type,
        "UsageCount": lambda entry: entry.uses,
    }
    headers = {
        "CreatedAt": "CREATED AT", "Description": "DESCRIPTION", "ID": "ID", "LastUsedAt": "LAST ACCESSED",
        "Mutable": "MUTABLE", "Parents": "PARENTS", "Reclaimable": "RECLAIMABLE", "Shared": "SHARED", "Size": "SIZE",
        "Type": "TYPE", "UsageCount": "USAGE COUNT",
    }  # fmt: skip
    show(found, fields, headers, ("ID", "Reclaimable", "Size", "LastUsedAt"), kind="du", format=format)


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _ago(used: float, now: float) -> str:
    from cais.spec.duration import human_duration

    return human_duration(max(0.0, now - used)) + " ago"
