"""``cais registry repository ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List repositories, and who may read them",
    aliases=("registry repository ls", "registry repository list"),
    flags=(list_format(), Flag("quiet", "q", "", "Only display names"), *settings_flags()),
    examples=("cais registry repository ls",),
)


def run(call: Call) -> int:
    from cais.cli.registry_records import moment, records_of
    from cais.cli.table import show

    with records_of(call) as records:
        found = records.repositories()
    fields = {
        "CreatedAt": lambda repository: moment(repository.created_unix, ""),
        "Name": lambda repository: repository.name,
        "Visibility": lambda repository: "public" if repository.is_public else "private",
    }
    headers = {"CreatedAt": "CREATED", "Name": "NAME", "Visibility": "VISIBILITY"}
    show(
        found, fields, headers, ("Name", "Visibility", "CreatedAt"),
        kind="repository", format=call["format"], quiet="Name" if call["quiet"] else "",
    )  # fmt: skip
    return 0
