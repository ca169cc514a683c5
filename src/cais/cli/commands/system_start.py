"""``cais system start``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cais.cli.call import Call
    from cais.engine.boot import Outcome

COMMAND = Command(
    "",
    "Start the containers that run from boot.\n\nThose with the restart policies 'always' and 'unless-stopped' that "
    "were ever started; with 'unless-stopped' not those that were stopped by hand. 'cais system enable' has it done at "
    "boot.",
    examples=("cais system start",),
)


def run(call: Call) -> int:
    return tell(call.engine.system.start_containers())


def tell(outcomes: Iterable[Outcome]) -> int:
    """The name of each container, or why it was not done. The exit code."""
    from cais.cli.call import error_text, say, warn

    failed = 0
    for outcome in outcomes:
        if outcome.error is None:
            say(outcome.name)
        else:
            warn(f"{outcome.name}: {error_text(outcome.error)}")
            failed = 1
    return failed
