"""``cais volume import``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "VOLUME file|-",
    "Replace the files of a volume by those of a tar archive, compressed or not",
    arguments=(2, 2),
    complete="volume",
    examples=("cais volume import data data.tar", "zstd -dc data.tar.zst | cais volume import data -"),
)


def run(call: Call) -> int:
    import sys

    from cais.cli.call import say
    from cais.errors import NotFound, from_os_error

    name, path = call.arguments
    if path == "-":
        say(call.engine.volumes.import_(name, sys.stdin.buffer).name)
        return 0
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory")
    except OSError as error:
        raise from_os_error(error, f"read {path}")
    with file:
        say(call.engine.volumes.import_(name, file).name)
    return 0
