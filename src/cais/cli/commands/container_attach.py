"""``cais container attach``, ``cais attach``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    aliases=("container attach", "attach"),
    arguments=(1, 1),
    complete="running",
    flags=(
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("no-stdin", "", "", "Do not attach STDIN"),
        Flag("sig-proxy", "", "", "Proxy all received signals to the process", True),
    ),
    examples=("cais attach shell", "cais attach --no-stdin --sig-proxy=false web"),
)


def run(call: Call) -> int:
    from cais.cli.call import warn
    from cais.engine.containers import AttachOptions

    keys = call["detach-keys"] if "detach-keys" in call.said else None
    code = call.engine.containers.attach(
        call.arguments[0], AttachOptions(call["sig-proxy"], keys), stdin=not call["no-stdin"]
    )
    if code is None:
        warn("read escape sequence")
        return 1
    return code
