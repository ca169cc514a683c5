"""``cais registry token create``."""

from __future__ import annotations

from cais.cli.declare import BadValue, Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call


def _grant(text: str) -> None:
    if not text.rpartition(":")[0]:
        raise BadValue(f"invalid grant '{text}': it is PATTERN:ACTION[,ACTION...]")


COMMAND = Command(
    "[OPTIONS] NAME",
    "Create a token for a program\n\nThe secret is printed once, and is nowhere to be found again. A program signs in "
    "with NAME and the secret as its password.",
    arguments=(1, 1),
    flags=(
        Flag("expires", "", "string", "When it ends, from now (90d, 12h), or 'never'", "365d", complete="never,"),
        Flag("grant", "", "stringArray", "What it may do: PATTERN:ACTION[,ACTION...], of pull, push, delete, admin",
             check=_grant),
        Flag("owner", "", "string", "User to whom it belongs: it can do no more than that user"),
        *settings_flags(),
    ),
    examples=(
        "cais registry token create --grant 'team/*:pull,push' ci > ci-secret",
        "cais registry token create --owner alice --grant '*:pull' --expires 90d laptop",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_records import records_of
    from cais.errors import Invalid
    from cais.spec.duration import parse_duration

    lasts = None
    if call["expires"] != "never":
        lasts = parse_duration(call["expires"])
        if not lasts:
            raise Invalid(f"invalid duration '{call['expires']}'", hint="For example 90d, 12h or never.")
    allowed = []
    for text in call["grant"]:
        pattern, _, actions = text.rpartition(":")
        allowed.append((pattern, actions.split(",")))
    with records_of(call, new=True) as records:
        say(records.robots.create(call.arguments[0], allowed, owner=call["owner"] or "", lasts_seconds=lasts))
    return 0
