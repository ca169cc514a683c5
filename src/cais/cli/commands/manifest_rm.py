"""``cais manifest rm``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "MANIFEST_LIST [MANIFEST_LIST...]",
    "Delete one or more manifest lists from local storage",
    arguments=(1, None),
    examples=("cais manifest rm localhost:5000/app:1",),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    manifests = call.engine.manifests
    return each(call.arguments, manifests.remove)
