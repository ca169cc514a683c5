"""``cais registry grant add``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] SUBJECT PATTERN ACTION[,ACTION...]",
    "Grant somebody what they may do with repositories\n\nSUBJECT is a user, robot:NAME of a token, "
    "organisation:NAME or everyone. PATTERN is the name of a repository, in which * stands for any characters. The "
    "actions are pull, push, delete and admin, which is all of them. What SUBJECT was granted on the same PATTERN "
    "before is replaced.",
    arguments=(3, 3),
    flags=settings_flags(),
    examples=(
        "cais registry grant add alice 'team/*' pull,push",
        "cais registry grant add robot:ci team/app pull,push",
        "cais registry grant add everyone 'library/*' pull",
    ),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of

    who, pattern, actions = call.arguments
    with records_of(call) as records:
        records.grants.put(who, pattern, actions.split(","))
    say(f"{who} {pattern}")
    return 0
