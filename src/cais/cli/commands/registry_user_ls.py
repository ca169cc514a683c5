"""``cais registry user ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List users",
    aliases=("registry user ls", "registry user list"),
    flags=(list_format(), Flag("quiet", "q", "", "Only display names"), *settings_flags()),
    examples=("cais registry user ls", "cais registry user ls --format json"),
)


def run(call: Call) -> int:
    from cais.cli.registry_records import moment, records_of
    from cais.cli.table import show

    with records_of(call) as records:
        found = records.accounts.people()
    fields = {
        "Admin": lambda account: "yes" if account.is_admin else "no",
        "CreatedAt": lambda account: moment(account.created_unix, ""),
        "Name": lambda account: account.name,
        "Status": lambda account: "disabled" if account.is_disabled else "enabled",
    }
    headers = {"Admin": "ADMIN", "CreatedAt": "CREATED", "Name": "NAME", "Status": "STATUS"}
    show(
        found, fields, headers, ("Name", "Admin", "Status", "CreatedAt"),
        kind="user", format=call["format"], quiet="Name" if call["quiet"] else "",
    )  # fmt: skip
    return 0
