"""``cais context show``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command("", "Print the name of the current context", examples=("cais context show",))


def run(call: Call) -> int:
    import os

    from cais.cli.call import say
    from cais.cli.place import current

    say(current({}, os.environ))
    return 0
