"""``cais volume export``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME",
    "Write the files of a volume to a tar archive (streamed to STDOUT by default)",
    arguments=(1, 1),
    complete="volume",
    flags=(Flag("output", "o", "string", "Write to a file, instead of STDOUT", complete="file"),),
    examples=("cais volume export -o data.tar data", "cais volume export data | zstd > data.tar.zst"),
)


def run(call: Call) -> int:
    import sys

    (name,) = call.arguments
    volumes = call.engine.volumes
    if not call["output"]:
        volumes.export(name, sys.stdout.buffer)
        return 0
    from cais.cli.whole_file import WholeFile

    volumes.get(name)
    with WholeFile(call["output"]) as file:
        volumes.export(name, file)
    return 0
