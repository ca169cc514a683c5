"""``cais image load``, ``cais load``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Load an image from a tar archive or STDIN.\n\n"
    "Takes archives of Docker (old and new) and OCI, compressed or not, and directories in the OCI image layout.",
    aliases=("image load", "load"),
    flags=(
        Flag("input", "i", "string", "Read from tar archive file, instead of STDIN", complete="file"),
        Flag("quiet", "q", "", "Suppress the load output"),
    ),
    examples=("cais load -i app.tar.gz", "ssh host docker save app | cais load"),
)


def run(call: Call) -> int:
    import os
    import sys

    from cais.cli.call import say
    from cais.cli.progress import transfer
    from cais.errors import Invalid, NotFound

    source = call["input"]
    if not source and os.isatty(0):
        raise Invalid("requested load from stdin, but stdin is empty")
    if source and not os.path.exists(source):
        raise NotFound(f"open {source}: no such file or directory")
    progress, finish = transfer(quiet=call["quiet"])
    try:
        loaded = call.engine.images.load(source or sys.stdin.buffer, progress)
    finally:
        finish()
    for item in loaded:
        say(f"Loaded image{' ID' if item.kind == 'id' else ''}: {item.name_or_id}")
    return 0
