"""``cais image save``, ``cais save``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases=("image save", "save"),
    arguments=(1, None),
    complete="image",
    flags=(
        Flag("output", "o", "string", "Write to a file, instead of STDOUT", complete="file"),
        platform('Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
    ),
    examples=("cais save -o app.tar app:1.0", "cais save app | gzip > app.tar.gz"),
)


def run(call: Call) -> int:
    import sys

    chosen = None
    if call["platform"]:
        from cais.spec.platform import Platform

        chosen = Platform.parse(call["platform"])
    images = call.engine.images
    path = call["output"]
    if not path:
        images.save(call.arguments, sys.stdout.buffer, chosen)
        return 0
    from cais.cli.whole_file import WholeFile

    with WholeFile(path) as file:
        images.save(call.arguments, file, chosen)
    return 0
