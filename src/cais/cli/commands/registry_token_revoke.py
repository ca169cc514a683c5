"""``cais registry token revoke``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME [NAME...]",
    "Revoke tokens, with what they are granted",
    arguments=(1, None),
    flags=settings_flags(),
    examples=("cais registry token revoke ci",),
)


def run(call: Call) -> int:
    from cais.cli.call import each
    from cais.cli.registry_records import records_of

    with records_of(call) as records:

        def revoke(name: str) -> str:
            records.robots.revoke(name)
            return name

        return each(call.arguments, revoke)
