"""``cais registry organisation ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List organisations and their members",
    aliases=("registry organisation ls", "registry organisation list"),
    flags=(list_format(), Flag("quiet", "q", "", "Only display names"), *settings_flags()),
    examples=("cais registry organisation ls",),
)


def run(call: Call) -> int:
    from cais.cli.registry_records import records_of
    from cais.cli.table import show

    with records_of(call) as records:
        found = records.accounts.organisations()
    fields = {"Members": lambda row: ",".join(row[1]), "Name": lambda row: row[0]}
    headers = {"Members": "MEMBERS", "Name": "NAME"}
    show(
        found, fields, headers, ("Name", "Members"),
        kind="organisation", format=call["format"], quiet="Name" if call["quiet"] else "",
    )  # fmt: skip
    return 0
