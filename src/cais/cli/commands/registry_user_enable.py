"""``cais registry user enable``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME [NAME...]",
    "Let users in again that were disabled",
    arguments=(1, None),
    flags=settings_flags(),
    examples=("cais registry user enable alice",),
)


def run(call: Call) -> int:
    from cais.cli.call import each
    from cais.cli.registry_records import records_of

    with records_of(call) as records:

        def change(name: str) -> str:
            records.accounts.change(name, disabled=False)
            return name

        return each(call.arguments, change)
