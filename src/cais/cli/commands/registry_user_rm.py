"""``cais registry user rm``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME [NAME...]",
    "Remove users, with what they are granted and their tokens\n\nTheir repositories stay.",
    arguments=(1, None),
    aliases=("registry user rm", "registry user remove"),
    flags=settings_flags(),
    examples=("cais registry user rm alice",),
)


def run(call: Call) -> int:
    from cais.cli.call import each
    from cais.cli.registry_records import records_of

    with records_of(call) as records:

        def remove(name: str) -> str:
            records.accounts.remove(name)
            return name

        return each(call.arguments, remove)
