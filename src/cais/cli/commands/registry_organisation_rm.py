"""``cais registry organisation rm``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME [NAME...]",
    "Remove organisations, with what they are granted\n\nTheir members and repositories stay.",
    arguments=(1, None),
    aliases=("registry organisation rm", "registry organisation remove"),
    flags=settings_flags(),
    examples=("cais registry organisation rm acme",),
)


def run(call: Call) -> int:
    from cais.cli.call import each
    from cais.cli.registry_records import records_of

    with records_of(call) as records:

        def remove(name: str) -> str:
            records.accounts.remove_organisation(name)
            return name

        return each(call.arguments, remove)
