"""``cais context import``."""

from __future__ import annotations

from cais.cli.context_flags import contexts, done
from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTEXT FILE|-",
    "Import a context from a tar file",
    arguments=(2, 2),
    complete="file",
    examples=("cais context import far far.dockercontext",),
)


def run(call: Call) -> int:
    import sys

    from cais.errors import NotFound, from_os_error

    name, path = call.arguments
    if path == "-":
        contexts().import_(name, sys.stdin.buffer)
    else:
        try:
            with open(path, "rb") as file:
                contexts().import_(name, file)
        except FileNotFoundError:
            raise NotFound(f"open {path}: no such file or directory")
        except OSError as error:
            raise from_os_error(error, f"read {path}")
    return done(name, f'Successfully imported context "{name}"')
