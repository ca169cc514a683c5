"""``cais builder debug``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call
    from cais.engine.build_debug import Place

COMMAND = Command(
    "[OPTIONS] [STEP [BUILD]]",
    "Open a shell in a step of a build.\n\nIn its file system, with its environment, directory and user. STEP is "
    "its number in the progress (5), STAGE/NUMBER (builder/3), or a line of the Dockerfile (:12); the default is the "
    "one that failed. BUILD is an id or the start of one, as \"cais builder history ls\" shows it, or ^1 for the "
    "build before the last; the default is the last build. It is the state after the step, or before one that failed. "
    "What is changed is thrown away.",
    arguments=(0, 2),
    complete="build",
    flags=(
        Flag("before", "", "", "The state before the step"),
        Flag("command", "c", "string", "Run this by the shell instead, without a terminal"),
        Flag("shell", "", "string", "The shell (default: that of the step, else /bin/sh)"),
    ),
    examples=(
        "cais builder debug",
        "cais builder debug 3",
        "cais builder debug builder/2 --command 'ls -l /src'",
        "cais builder debug :12 --before --shell /bin/bash",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    from cais.cli.debug_shell import has_terminal, interactive
    from cais.engine.build_debug import Wanted
    from cais.errors import Invalid

    if not call["command"] and not has_terminal():
        raise Invalid(
            "standard input and output are no terminal, and a shell needs one", hint="Or give --command COMMAND."
        )

    def action(place: Place) -> int:
        if not call["command"]:
            return interactive(place, call["shell"])
        return _run_command(place, call["shell"] or place.shell, call["command"])

    step, build = (*call.arguments, "", "")[:2]
    return call.engine.builder.debug(Wanted(step, build, call["before"]), action)


def _run_command(place: Place, shell: str, command: str) -> int:
    import os

    # A terminal is for the one who types; what is piped in is for the command.
    return place.run((shell, "-c", command), stdin=-1 if os.isatty(0) else 0)
