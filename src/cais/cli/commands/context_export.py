"""``cais context export``."""

from __future__ import annotations

from cais.cli.context_flags import contexts
from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "CONTEXT [FILE|-]",
    "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    arguments=(1, 2),
    complete="context",
    examples=("cais context export far", "cais context export far - > far.tar"),
)


def run(call: Call) -> int:
    import sys

    from cais.errors import Conflict, Invalid, from_os_error

    name, *file = call.arguments
    path = "".join(file) or f"{name}.dockercontext"
    known = contexts()
    known.get(name)
    if path == "-":
        if sys.stdout.isatty():
            raise Invalid("cowardly refusing to export to a terminal, specify a file path")
        known.export(name, sys.stdout.buffer)
        return 0
    try:
        with open(path, "xb") as output:
            known.export(name, output)
    except FileExistsError:
        raise Conflict(f"open {path}: file exists")
    except OSError as error:
        raise from_os_error(error, f"write {path}")
    sys.stderr.write(f'Written file "{path}"\n')
    return 0
