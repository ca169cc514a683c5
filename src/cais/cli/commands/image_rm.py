"""``cais image rm``, ``cais rmi``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    aliases=("image rm", "image remove", "rmi"),
    arguments=(1, None),
    complete="image",
    flags=(
        Flag("force", "f", "", "Force removal of the image"),
        Flag("no-prune", "", "", "Do not delete untagged parents"),
    ),
    examples=("cais rmi app:1.0", "cais rmi -f 3f2a1b0c9d8e"),
)


def run(call: Call) -> int:
    from cais.cli.call import each, error_text, warn
    from cais.errors import NotFound

    images = call.engine.images

    def remove(name: str) -> str | None:
        try:
            removed = images.remove(name, force=call["force"], prune=not call["no-prune"])
        except NotFound as error:
            if not call["force"]:
                raise
            # Docker tells of it, and it is no failure when force was asked for.
            warn(error_text(error))
            return None
        return "\n".join(f"{what}: {which}" for what, which in removed) or None

    return each(call.arguments, remove)
