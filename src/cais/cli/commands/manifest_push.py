"""``cais manifest push``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] MANIFEST_LIST",
    "Push a manifest list to a repository",
    arguments=(1, 1),
    flags=(
        Flag("insecure", "", "", "Allow push to an insecure registry"),
        Flag("purge", "p", "", "Remove the local manifest list after push"),
    ),
    examples=("cais manifest push --purge localhost:5000/app:1",),
)


def run(call: Call) -> int:
    from cais.cli.call import say

    say(
        call.engine.manifests.push(
            call.arguments[0],
            purge=call["purge"],
            insecure=call["insecure"],
            progress=lambda event: say(event["text"]),
        )
    )
    return 0
