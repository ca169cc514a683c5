"""``cais image tag``, ``cais tag``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases=("image tag", "tag"),
    arguments=(2, 2),
    interspersed=False,
    complete="image",
    examples=("cais tag app registry.example.com/team/app:1.0",),
)


def run(call: Call) -> int:
    call.engine.images.tag(call.arguments[0], call.arguments[1])
    return 0
