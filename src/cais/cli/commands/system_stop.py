"""``cais system stop``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "",
    "Stop all containers before the host goes down.\n\nEach gets its own time to end. 'cais system start' starts those "
    "again that run from boot: none of them counts as stopped by hand.",
    examples=("cais system stop",),
)


def run(call: Call) -> int:
    from cais.cli.commands.system_start import tell

    return tell(call.engine.system.stop_containers())
