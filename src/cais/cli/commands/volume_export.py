"""``cais volume export``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME[@SNAPSHOT]",
    "Write the files of a volume to a tar archive (streamed to STDOUT by default)",
    arguments=(1, 1),
    complete="volume",
    flags=(
        Flag("compression", "", "string", "Compress it: 'gzip' or 'zstd'", complete="gzip,zstd"),
        Flag("output", "o", "string", "Write to a file, instead of STDOUT", complete="file"),
    ),
    examples=("cais volume export -o data.tar data", "cais volume export --compression zstd data > data.tar.zst"),
)


def run(call: Call) -> int:
    import sys

    from cais.errors import Invalid

    (name,) = call.arguments
    volumes, compression = call.engine.volumes, call["compression"]
    if compression not in ("", "none", "gzip", "zstd"):
        raise Invalid(f"unknown compression {compression!r}", hint="Known are: none, gzip, zstd.")
    if not call["output"]:
        if sys.stdout.isatty():
            raise Invalid("cowardly refusing to write an archive to a terminal", hint="Use the -o flag or redirect.")
        volumes.export(name, sys.stdout.buffer, compression)
        return 0
    from cais.cli.whole_file import WholeFile

    volumes.inspect(name)
    with WholeFile(call["output"]) as file:
        volumes.export(name, file, compression)
    return 0
