"""``cais image history``, ``cais history``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format, platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE",
    "Show the history of an image",
    aliases=("image history", "history"),
    arguments=(1, 1),
    complete="image",
    flags=(
        list_format(),
        Flag("human", "H", "", "Print sizes and dates in human readable format", True),
        Flag("no-trunc", "", "", "Don't truncate output"),
        platform('Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
        Flag("quiet", "q", "", "Only show image IDs"),
    ),
    examples=("cais history debian", "cais history --no-trunc --format '{{.CreatedBy}}' debian"),
)
# As many characters of an instruction as Docker shows.
_SHOWN = 45


def run(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age, human_size

    now = time.time()
    human, long = call["human"], call["no-trunc"]
    chosen = None
    if call["platform"]:
        from cais.spec.platform import Platform

        chosen = Platform.parse(call["platform"])

    def iso(entry: Any) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(entry.created_unix))

    def rfc3339(entry: Any) -> str:
        text = iso(entry)
        return text[:-5] + "Z" if text.endswith("+0000") else f"{text[:-2]}:{text[-2:]}"

    def created_by(entry: Any) -> str:
        text = str(entry.created_by).replace("\t", " ")
        return text if long or len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

    def identity(entry: Any) -> str:
        return str(entry.id if long or not entry.id.startswith("sha256:") else entry.id[7:19])

    fields = {
        "Comment": lambda entry: entry.comment,
        "CreatedAt": rfc3339,
        "CreatedBy": created_by,
        "CreatedSince": lambda entry: age(entry.created_unix, now) if human else rfc3339(entry),
        "ID": identity,
        "Size": lambda entry: human_size(entry.size_bytes) if human else str(entry.size_bytes),
    }
    headers = {
        "Comment": "COMMENT", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY",
        "CreatedSince": "CREATED" if human else "CREATED AT", "ID": "IMAGE", "Size": "SIZE",
    }  # fmt: skip
    show(
        call.engine.images.history(call.arguments[0], chosen), fields, headers,
        ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
        kind="history", format=call["format"], quiet="ID" if call["quiet"] else "",
    )  # fmt: skip
    return 0
