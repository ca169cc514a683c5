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
    from cais.cli.call import error_text, say, warn

    failed = 0
    for outcome in call.engine.system.stop_containers():
        if outcome.error is None:
            say(outcome.name)
        else:
            warn(f"{outcome.name}: {error_text(outcome.error)}")
            failed = 1
    return failed
