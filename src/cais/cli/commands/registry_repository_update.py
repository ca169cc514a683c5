"""``cais registry repository update``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME [NAME...]",
    "Make repositories public or private\n\nEverybody may pull what is public: who has signed in, and everybody else "
    "where the setting access.anonymous says so.",
    arguments=(1, None),
    flags=(Flag("public", "", "", "Everybody may pull (--public=false: only who is granted it)"), *settings_flags()),
    examples=(
        "cais registry repository update --public team/app",
        "cais registry repository update --public=false team/app",
    ),
)


def run(call: Call) -> int:
    from cais.cli.call import each
    from cais.cli.registry_records import records_of
    from cais.errors import Invalid

    if "public" not in call.said:
        raise Invalid("nothing is to be changed", hint="Give --public or --public=false.")
    with records_of(call) as records:

        def publish(name: str) -> str:
            records.publish(name, call["public"])
            return name

        return each(call.arguments, publish)
