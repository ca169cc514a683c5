"""``cais registry key rotate``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Sign access tokens with a new key from now on\n\nThis happens by itself, too. Prints the id of the new key.",
    flags=(
        Flag("forget", "", "", "Accept nothing any more that other keys have signed (replicas: within a minute)"),
        *settings_flags(),
    ),
    examples=("cais registry key rotate", "cais registry key rotate --forget"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of

    with records_of(call) as records:
        say(records.keys.rotate(forget=call["forget"]))
    return 0
