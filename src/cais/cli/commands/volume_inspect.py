"""``cais volume inspect``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    "Display detailed information on one or more volumes",
    arguments=(1, None),
    complete="volume",
    flags=(inspect_format(),),
    examples=("cais volume inspect -f '{{.Mountpoint}}' data",),
)


def run(call: Call) -> int:
    from cais.cli.documents import inspect

    return inspect(call.arguments, call.engine.volumes.inspect, call["format"])
