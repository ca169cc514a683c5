"""``cais search``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] TERM",
    "Search Docker Hub for images\n\nOr another registry, where its host stands before the term.",
    arguments=(1, 1),
    flags=(
        filter_flag(),
        Flag("format", "", "string", "Pretty-print search using a Go template", complete="table,json"),
        Flag("limit", "", "int", "Max number of search results"),
        Flag("no-trunc", "", "", "Don't truncate output"),
    ),
    examples=("cais search debian --filter is-official=true", "cais search localhost:5000/app"),
)

_DESCRIPTION_WIDTH = 45


def run(call: Call) -> int:
    from cais.cli.table import show
    from cais.cli.values import filters

    def description(text: str) -> str:
        line = text.replace("\n", " ").replace("\r", " ")
        return line if call["no-trunc"] or len(line) <= _DESCRIPTION_WIDTH else line[: _DESCRIPTION_WIDTH - 1] + "…"

    rows = call.engine.search(call.arguments[0], filters(call["filter"]), call["limit"] or 0)
    fields = {
        "Description": lambda found: description(found.description),
        "IsAutomated": lambda found: "",
        "IsOfficial": lambda found: "[OK]" if found.is_official else "",
        "Name": lambda found: found.name,
        "StarCount": lambda found: str(found.stars),
    }
    headers = {
        "Description": "DESCRIPTION", "IsAutomated": "AUTOMATED", "IsOfficial": "OFFICIAL", "Name": "NAME",
        "StarCount": "STARS",
    }  # fmt: skip
    columns = ["Name", "Description", "StarCount", "IsOfficial"]
    show(rows, fields, headers, columns, kind="search result", format=call["format"])
    return 0
