"""``cais context inspect``."""

from __future__ import annotations

from cais.cli.context_flags import contexts
from cais.cli.declare import Command
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    "Display detailed information on one or more contexts",
    arguments=(0, None),
    complete="context",
    flags=(inspect_format(),),
    examples=("cais context inspect far", "cais context inspect -f '{{.Endpoints.docker.Host}}' far"),
)


def run(call: Call) -> int:
    import os
    from typing import Any

    from cais.cli.documents import inspect
    from cais.cli.place import current

    known = contexts()

    def find(name: str) -> dict[str, Any]:
        path = known.path(name) or "<IN MEMORY>"
        return {**known.get(name).document(), "TLSMaterial": {}, "Storage": {"MetadataPath": path, "TLSPath": ""}}

    return inspect(call.arguments or [current({}, os.environ)], find, call["format"])
