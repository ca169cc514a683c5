"""``cais container commit``, ``cais commit``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    aliases=("container commit", "commit"),
    arguments=(1, 2),
    complete="container",
    flags=(
        Flag("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Commit message"),
        Flag("pause", "p", "", "Pause container during commit", True),
    ),
    examples=("cais commit web web:snapshot", "cais commit -c 'CMD [\"/bin/sh\"]' web shell"),
)


def run(call: Call) -> int:
    from cais.cli.call import say

    say(
        call.engine.containers.commit(
            call.arguments[0], "".join(call.arguments[1:]), author=call["author"], message=call["message"],
            changes=call["change"], pause=call["pause"],
        )
    )  # fmt: skip
    return 0
