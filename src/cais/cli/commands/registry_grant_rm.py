"""``cais registry grant rm``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] SUBJECT PATTERN",
    "Take back what somebody is granted on repositories",
    arguments=(2, 2),
    aliases=("registry grant rm", "registry grant remove"),
    flags=settings_flags(),
    examples=("cais registry grant rm alice 'team/*'",),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of

    who, pattern = call.arguments
    with records_of(call) as records:
        records.grants.remove(who, pattern)
    say(f"{who} {pattern}")
    return 0
