"""``cais container export``, ``cais export``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    "Export a container's filesystem as a tar archive",
    aliases=("container export", "export"),
    arguments=(1, 1),
    complete="container",
    flags=(Flag("output", "o", "string", "Write to a file, instead of STDOUT", complete="file"),),
    examples=("cais export -o web.tar web", "cais export web | cais import - web:flat"),
)


def run(call: Call) -> int:
    import sys

    (name,) = call.arguments
    files = call.engine.containers.files
    if not call["output"]:
        if sys.stdout.isatty():
            from cais.errors import Invalid

            raise Invalid("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        files.export(name, sys.stdout.buffer)
        return 0
    from cais.cli.whole_file import WholeFile

    call.engine.containers.get(name)
    with WholeFile(call["output"]) as file:
        files.export(name, file)
    return 0
