"""``cais image sbom``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE",
    "Show the bill of materials that was built with an image\n\nIt is an SPDX document in JSON: of an image that was "
    "built with --sbom=true, here or elsewhere.",
    arguments=(1, 1),
    complete="image",
    flags=(platform("Of a specific platform of the multi-platform image"),),
    examples=("cais image sbom app",),
)


def run(call: Call) -> int:
    return show(call, "https://spdx.dev/", "sbom", "--sbom=true")


def show(call: Call, kind: str, what: str, flag: str) -> int:
    """Prints the predicate of the first attestation whose type begins with ``kind``. Raises NotFound without one."""
    import json
    import sys

    from cais.errors import NotFound

    chosen = None
    if call["platform"]:
        from cais.spec.platform import Platform

        chosen = Platform.parse(call["platform"])
    name = call.arguments[0]
    found = call.engine.images.attestations(name, kind, chosen)
    if not found:
        raise NotFound(f"the image {name} has no {what}", hint=f"Build it with {flag}.")
    # In pieces: it may be long.
    json.dump(found[0].predicate, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0
