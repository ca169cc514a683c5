"""``cais registry key ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List the keys that sign access tokens\n\nThe newest first. A key signs for a while, and its tokens are accepted "
    "until the last of them has expired.",
    aliases=("registry key ls", "registry key list"),
    flags=(list_format(), Flag("quiet", "q", "", "Only display ids"), *settings_flags()),
    examples=("cais registry key ls",),
)


def run(call: Call) -> int:
    from cais.cli.registry_records import moment, records_of
    from cais.cli.table import show

    with records_of(call) as records:
        found = records.keys.all()
    fields = {
        "CreatedAt": lambda key: moment(key.created_unix, ""),
        "ID": lambda key: key.kid,
        "SignsUntil": lambda key: moment(key.signs_until_unix, ""),
        "VerifiesUntil": lambda key: moment(key.verifies_until_unix, ""),
    }
    headers = {
        "CreatedAt": "CREATED", "ID": "KEY ID", "SignsUntil": "SIGNS UNTIL", "VerifiesUntil": "ACCEPTED UNTIL",
    }  # fmt: skip
    show(
        found, fields, headers, ("ID", "CreatedAt", "SignsUntil", "VerifiesUntil"),
        kind="key", format=call["format"], quiet="ID" if call["quiet"] else "",
    )  # fmt: skip
    return 0
