"""``cais container run``, ``cais run``."""

from __future__ import annotations

from cais.cli.container_flags import FLAGS
from cais.cli.declare import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    aliases=("container run", "run"),
    arguments=(1, None),
    interspersed=False,
    complete="image",
    flags=(
        *FLAGS,
        Flag("detach", "d", "", "Run container in background and print container ID"),
        Flag("sig-proxy", "", "", "Proxy received signals to the process", True),
    ),
    examples=(
        "cais run --rm -it debian bash",
        "cais run -d --name web --network host -v data:/srv app:1.0",
        "cais run --rm -e NAME=value -m 256m --cpus 1.5 app env",
    ),
)


def run(call: Call) -> int:
    import sys

    from cais.cli.call import say, warn
    from cais.cli.container_flags import PullShown, run_options, write_container_id

    options = run_options(call)._replace(detach=call["detach"], sig_proxy=call["sig-proxy"])
    if options.tty and options.interactive and not options.detach:
        import os

        if not os.isatty(0):
            raise UsageError("the input device is not a TTY", 1, usage=False)
    if options.detach and options.attach:
        raise UsageError("conflicting options: cannot specify both --attach and --detach", 1, usage=False)
    shown = not ({"stdout", "stderr"} & {name.lower() for name in options.attach or ("stdout",)})

    detached = ""

    def created(id: str) -> None:
        nonlocal detached
        write_container_id(call["cidfile"], id)
        if options.detach:
            detached = id
        elif shown:
            # Nothing else will be said here.
            say(id)
            sys.stdout.flush()

    try:
        return call.engine.containers.run(
            options, warn=warn, created=created, progress=PullShown(options.quiet)
        ).exit_code
    finally:
        # After what there was to warn of, and also of one that does not start: it is there.
        if detached:
            say(detached)
