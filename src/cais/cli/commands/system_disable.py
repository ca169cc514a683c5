"""``cais system disable``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "",
    "Containers do not start with this host any more.\n\nRemoves what 'cais system enable' has "
    "written. What runs goes on.",
    examples=("cais system disable",),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.commands.system_enable import user_units

    unit = call.engine.system.boot_unit(user_units())
    say(f"removed {unit.path}" if unit.disable() else "nothing was enabled")
    return 0
