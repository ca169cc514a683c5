"""``cais manifest inspect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    "Display an image manifest, or manifest list",
    arguments=(1, 2),
    flags=(
        Flag("insecure", "", "", "Allow communication with an insecure registry"),
        Flag("verbose", "v", "", "Output additional info including layers and platform"),
    ),
    examples=("cais manifest inspect debian:12", "cais manifest inspect -v localhost:5000/app:1"),
)


def run(call: Call) -> int:
    import json

    from cais.cli.others import put

    manifests = call.engine.manifests
    if call["verbose"]:
        found = manifests.inspect_all(*call.arguments, insecure=call["insecure"])
        text = json.dumps(found, indent="\t", ensure_ascii=False)
    else:
        document = manifests.inspect(*call.arguments, insecure=call["insecure"])
        # Docker's client shows a list with three spaces, a manifest with tabs.
        text = json.dumps(document, indent=3 if "manifests" in document else "\t", ensure_ascii=False)
    put(text + "\n")
    return 0
