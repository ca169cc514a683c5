"""``cais registry organisation join``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME USER",
    "Make a user a member of an organisation",
    arguments=(2, 2),
    flags=settings_flags(),
    examples=("cais registry organisation join acme alice",),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of

    with records_of(call) as records:
        records.accounts.join(*call.arguments)
    say(call.arguments[1])
    return 0
