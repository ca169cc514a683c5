"""``cais context rm``."""

from __future__ import annotations

from cais.cli.context_flags import contexts
from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTEXT [CONTEXT...]",
    "Remove one or more contexts",
    aliases=("context rm", "context remove"),
    arguments=(1, None),
    complete="context",
    flags=(Flag("force", "f", "", "Force the removal of a context in use"),),
    examples=("cais context rm far",),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    known = contexts()

    def remove(name: str) -> str:
        known.remove(name, call["force"])
        return name

    return each(call.arguments, remove)
