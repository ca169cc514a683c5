"""``cais manifest annotate``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    "Add additional information to a local image manifest",
    arguments=(2, 2),
    flags=(
        Flag("arch", "", "string", "Set architecture"),
        Flag("os", "", "string", "Set operating system"),
        Flag("os-features", "", "strings", "Set operating system feature"),
        Flag("os-version", "", "string", "Set operating system version"),
        Flag("variant", "", "string", "Set architecture variant"),
    ),
    examples=("cais manifest annotate --arch arm64 --variant v8 localhost:5000/app:1 localhost:5000/app:1-arm64",),
)


def run(call: Call) -> int:
    call.engine.manifests.annotate(
        *call.arguments,
        architecture=call["arch"],
        os=call["os"],
        os_features=call["os-features"],
        os_version=call["os-version"],
        variant=call["variant"],
    )
    return 0
