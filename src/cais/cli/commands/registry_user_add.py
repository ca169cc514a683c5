"""``cais registry user add``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME",
    "Add a user\n\nThe password is asked for. A user has all rights on repositories below NAME/, and elsewhere what is "
    "granted. The registry may be running, and need not.",
    arguments=(1, 1),
    flags=(
        Flag("admin", "", "", "Let the user do everything"),
        Flag("no-namespace", "", "", "Give no rights on repositories below NAME/"),
        Flag("password-stdin", "", "", "Take the password from stdin"),
        *settings_flags(),
    ),
    examples=(
        "cais registry user add --admin root",
        "cais registry user add --root /srv/registry --password-stdin alice < password",
    ),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import new_password, records_of

    (name,) = call.arguments
    with records_of(call, new=True) as records:
        password = new_password(call)
        records.accounts.add(name, password, admin=call["admin"], namespace=not call["no-namespace"])
    say(name)
    return 0
