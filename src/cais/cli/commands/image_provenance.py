"""``cais image provenance``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE",
    "Show how an image was built, as its build has attested it\n\nIt is a SLSA provenance in JSON: of an image that "
    "was built with --provenance, here or elsewhere.",
    arguments=(1, 1),
    complete="image",
    flags=(platform("Of a specific platform of the multi-platform image"),),
    examples=("cais image provenance app",),
)


def run(call: Call) -> int:
    from cais.cli.commands.image_sbom import show

    return show(call, "https://slsa.dev/provenance/", "provenance", "--provenance=true")
