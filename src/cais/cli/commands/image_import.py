"""``cais image import``, ``cais import``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag, UsageError
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] file|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    aliases=("image import", "import"),
    arguments=(1, None),
    complete="file",
    flags=(
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Set commit message for imported image"),
        platform("Set platform if server is multi-platform capable"),
    ),
    examples=("cais import rootfs.tar.gz base:1", "tar -C rootfs -c . | cais import -c 'CMD [\"/bin/sh\"]' - base"),
)


def run(call: Call) -> int:
    import os
    import sys

    from cais.cli.call import say
    from cais.errors import NotFound, Unsupported

    if len(call.arguments) > 2:
        raise UsageError("cais: 'cais image import' requires at most 2 arguments", 1)
    source, reference = call.arguments[0], "".join(call.arguments[1:])
    if "://" in source:
        raise Unsupported(f"import from {source} is not supported by this version of cais", hint="Download it first.")
    if source != "-" and not os.path.exists(source):
        raise NotFound(f"open {source}: no such file or directory")
    chosen = None
    if call["platform"]:
        from cais.spec.platform import Platform

        chosen = Platform.parse(call["platform"])
    say(
        call.engine.images.import_(
            sys.stdin.buffer if source == "-" else source, reference, call["change"], call["message"], chosen
        )
    )
    return 0
