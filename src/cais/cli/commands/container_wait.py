"""``cais container wait``, ``cais wait``."""

from __future__ import annotations

from cais.cli.declare import BadValue, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

CONDITIONS = ("not-running", "next-exit", "removed")


def condition(text: str) -> None:
    if text not in CONDITIONS:
        raise BadValue(f'invalid condition: "{text}": it is one of {", ".join(CONDITIONS)}')


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    aliases=("container wait", "wait"),
    arguments=(1, None),
    complete="running",
    flags=(
        Flag(
            "condition",
            "",
            "string",
            'What to wait for ("not-running", "next-exit", "removed")',
            CONDITIONS[0],
            check=condition,
            complete=",".join(CONDITIONS),
        ),
    ),
    examples=("cais wait job", "cais wait --condition removed job"),
)


def run(call: Call) -> int:
    from cais.cli.call import each

    containers = call.engine.containers
    return each(call.arguments, lambda name: str(containers.wait(name, call["condition"])))
