"""``cais container rm``, ``cais rm``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    aliases=("container rm", "container remove", "rm"),
    arguments=(1, None),
    complete="container",
    flags=(
        Flag("force", "f", "", "Force the removal of a running container (uses SIGKILL)"),
        Flag("link", "l", "", "Remove the specified link"),
        Flag("volumes", "v", "", "Remove anonymous volumes associated with the container"),
    ),
    examples=("cais rm web", "cais rm -fv web", "cais rm $(cais ps -aq)"),
)


def run(call: Call) -> int:
    from cais.cli.call import each, error_text, warn
    from cais.errors import Invalid, NotFound

    containers = call.engine.containers

    def remove(name: str) -> str | None:
        if not name:
            raise Invalid("container name cannot be empty")
        try:
            if call["link"]:
                containers.remove_link(name)
                return name
            containers.remove(name, force=call["force"], volumes=call["volumes"])
        except NotFound as error:
            if not call["force"]:
                raise
            warn(error_text(error))
            return None
        return name

    return each(call.arguments, remove)
