"""``cais registry user disable``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME [NAME...]",
    "Let users in no more\n\nWhat they are granted is kept until they are enabled again. Clients that have a token "
    "from before may use it for its few minutes.",
    arguments=(1, None),
    flags=settings_flags(),
    examples=("cais registry user disable alice",),
)


def run(call: Call) -> int:
    from cais.cli.call import each
    from cais.cli.registry_records import records_of

    with records_of(call) as records:

        def change(name: str) -> str:
            records.accounts.change(name, disabled=True)
            return name

        return each(call.arguments, change)
