"""``cais registry user password``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME",
    "Change the password of a user\n\nWhat 'docker login' and others keep of the old one is worth nothing from now on.",
    arguments=(1, 1),
    flags=(Flag("password-stdin", "", "", "Take the password from stdin"), *settings_flags()),
    examples=("cais registry user password alice", "cais registry user password --password-stdin alice < password"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import new_password, records_of

    (name,) = call.arguments
    with records_of(call) as records:
        records.accounts.set_password(name, new_password(call))
    say(name)
    return 0
