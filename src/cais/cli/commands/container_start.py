"""``cais container start``, ``cais start``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Start one or more stopped containers",
    aliases=("container start", "start"),
    arguments=(1, None),
    complete="container",
    flags=(
        Flag("attach", "a", "", "Attach STDOUT/STDERR and forward signals"),
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("interactive", "i", "", "Attach container's STDIN"),
    ),
    examples=("cais start web", "cais start -ai shell"),
)


def run(call: Call) -> int:
    from cais.cli.call import each, error_text, warn
    from cais.errors import CaisError, Invalid

    containers = call.engine.containers
    if call["attach"] or call["interactive"]:
        if len(call.arguments) > 1:
            raise Invalid("you cannot start and attach multiple containers at once")
        from cais.engine.containers import AttachOptions

        options = AttachOptions(detach_keys=call["detach-keys"] if "detach-keys" in call.said else None)
        try:
            return containers.start(
                call.arguments[0], attach=True, interactive=call["interactive"], warn=warn, options=options
            )
        except CaisError as error:
            if error.exit_code not in (125, 126, 127):
                raise
            warn(error_text(error))
            return 1  # those are of run and exec

    failed = []

    def start(name: str) -> str:
        failed.append(name)
        containers.start(name, warn=warn)
        failed.remove(name)
        return name

    code = each(call.arguments, start)
    if failed:
        warn(f"Error: failed to start containers: {', '.join(failed)}")
    return code
