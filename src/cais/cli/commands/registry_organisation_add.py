"""``cais registry organisation add``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME",
    "Add an organisation\n\nIts members have all rights on repositories below NAME/, and what is granted to "
    "organisation:NAME.",
    arguments=(1, 1),
    flags=settings_flags(),
    examples=("cais registry organisation add acme",),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of

    with records_of(call, new=True) as records:
        records.accounts.add_organisation(call.arguments[0])
    say(call.arguments[0])
    return 0
