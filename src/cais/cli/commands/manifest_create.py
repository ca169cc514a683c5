"""``cais manifest create``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    "Create a local manifest list for annotating and pushing to a registry",
    arguments=(2, None),
    flags=(
        Flag("amend", "a", "", "Amend an existing manifest list"),
        Flag("insecure", "", "", "Allow communication with an insecure registry"),
    ),
    examples=("cais manifest create localhost:5000/app:1 localhost:5000/app:1-amd64 localhost:5000/app:1-arm64",),
)


def run(call: Call) -> int:
    from cais.cli.call import say

    name, *members = call.arguments
    created = call.engine.manifests.create(name, members, amend=call["amend"], insecure=call["insecure"])
    say(f"Created manifest list {created}")
    return 0
