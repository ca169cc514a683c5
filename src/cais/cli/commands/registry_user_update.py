"""``cais registry user update``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME",
    "Make a user an administrator, or a plain user again",
    arguments=(1, 1),
    flags=(Flag("admin", "", "", "Let the user do everything (--admin=false: no more)"), *settings_flags()),
    examples=("cais registry user update --admin alice", "cais registry user update --admin=false alice"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of
    from cais.errors import Invalid

    if "admin" not in call.said:
        raise Invalid("nothing is to be changed", hint="Give --admin or --admin=false.")
    (name,) = call.arguments
    with records_of(call) as records:
        records.accounts.change(name, admin=call["admin"])
    say(name)
    return 0
