"""``cais registry token ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List tokens\n\nTheir secrets are not kept. What they may do is in 'cais registry grant ls'.",
    aliases=("registry token ls", "registry token list"),
    flags=(list_format(), Flag("quiet", "q", "", "Only display names"), *settings_flags()),
    examples=("cais registry token ls", "cais registry token ls --format json"),
)


def run(call: Call) -> int:
    import time

    from cais.cli.registry_records import moment, records_of
    from cais.cli.table import show

    now = time.time()
    with records_of(call) as records:
        found = records.robots.all()
    fields = {
        "CreatedAt": lambda robot: moment(robot.created_unix, ""),
        "ExpiresAt": lambda robot: moment(robot.expires_unix, "never"),
        "Name": lambda robot: robot.name,
        "Owner": lambda robot: robot.owner,
        "Status": lambda robot: "expired" if (robot.expires_unix or now) < now else "valid",
        "UsedAt": lambda robot: moment(robot.used_unix, "never"),
    }
    headers = {
        "CreatedAt": "CREATED", "ExpiresAt": "EXPIRES", "Name": "NAME", "Owner": "OWNER", "Status": "STATUS",
        "UsedAt": "LAST USED",
    }  # fmt: skip
    show(
        found, fields, headers, ("Name", "Owner", "Status", "ExpiresAt", "UsedAt"),
        kind="token", format=call["format"], quiet="Name" if call["quiet"] else "",
    )  # fmt: skip
    return 0
