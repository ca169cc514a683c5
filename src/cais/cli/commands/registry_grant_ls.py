"""``cais registry grant ls``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import list_format
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [SUBJECT]",
    "List what is granted to whom",
    arguments=(0, 1),
    aliases=("registry grant ls", "registry grant list"),
    flags=(list_format(), *settings_flags()),
    examples=("cais registry grant ls", "cais registry grant ls robot:ci", "cais registry grant ls --format json"),
)


def run(call: Call) -> int:
    from cais.cli.registry_records import records_of
    from cais.cli.table import show

    wanted = "".join(call.arguments)
    with records_of(call) as records:
        found = [grant for grant in records.grants.all() if wanted in ("", str(grant.subject))]
    fields = {
        "Actions": lambda grant: ",".join(grant.in_order()),
        "Pattern": lambda grant: grant.pattern,
        "Subject": lambda grant: str(grant.subject),
    }
    headers = {"Actions": "ACTIONS", "Pattern": "PATTERN", "Subject": "SUBJECT"}
    show(found, fields, headers, ("Subject", "Pattern", "Actions"), kind="grant", format=call["format"])
    return 0
