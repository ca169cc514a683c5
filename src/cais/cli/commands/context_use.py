"""``cais context use``."""

from __future__ import annotations

from cais.cli.context_flags import contexts, done
from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTEXT",
    "Set the current cais context",
    arguments=(1, 1),
    complete="context",
    examples=("cais context use far", "cais context use default"),
)


def run(call: Call) -> int:
    import os

    from cais.cli.call import warn
    from cais.cli.place import overriding

    (name,) = call.arguments
    contexts().use(name)
    done(name, f'Current context is now "{name}"')
    variable = overriding(os.environ)
    if variable and name != "default":
        warn(
            f'Warning: {variable} environment variable overrides the active context. To use "{name}", either set the '
            f"global --context flag, or unset {variable} environment variable."
        )
    return 0
