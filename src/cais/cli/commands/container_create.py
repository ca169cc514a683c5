"""``cais container create``, ``cais create``."""

from __future__ import annotations

from cais.cli.container_flags import FLAGS
from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    aliases=("container create", "create"),
    arguments=(1, None),
    interspersed=False,
    complete="image",
    flags=FLAGS,
    examples=("cais create --name web -v data:/srv app:1.0", "cais start web"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.container_flags import PullShown, run_options, write_container_id

    options = run_options(call)
    made = call.engine.containers.create(options, PullShown(options.quiet))
    write_container_id(call["cidfile"], made.id)
    say(made.id)
    return 0
