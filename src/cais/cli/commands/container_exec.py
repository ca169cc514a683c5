"""``cais container exec``, ``cais exec``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag, UsageError
from cais.cli.values import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    aliases=("container exec", "exec"),
    arguments=(2, None),
    interspersed=False,
    complete="running",
    flags=(
        Flag("detach", "d", "", "Detached mode: run command in the background"),
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("env", "e", "list", "Set environment variables", check=environment),
        Flag("env-file", "", "list", "Read in a file of environment variables", complete="file"),
        Flag("interactive", "i", "", "Keep STDIN open even if not attached"),
        Flag("privileged", "", "", "Give extended privileges to the command"),
        Flag("tty", "t", "", "Allocate a pseudo-TTY"),
        Flag("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
        Flag("workdir", "w", "string", "Working directory inside the container"),
    ),
    examples=("cais exec -it web sh", "cais exec -u postgres -w /var/lib db psql -c 'select 1'"),
)


def run(call: Call) -> int:
    import os

    if call["tty"] and call["interactive"] and not call["detach"] and not os.isatty(0):
        raise UsageError("the input device is not a TTY", 1, usage=False)
    call.engine.foresee_start()  # it goes on beside this import
    from cais.engine.containers import ExecOptions

    options = ExecOptions(
        call.arguments[1:],
        env=call["env"],
        env_files=call["env-file"],
        environ=dict(os.environ),
        interactive=call["interactive"],
        tty=call["tty"],
        detach=call["detach"],
        user=call["user"],
        workdir=call["workdir"],
        privileged=call["privileged"],
        detach_keys=call["detach-keys"] if "detach-keys" in call.said else None,
    )
    code = call.engine.containers.exec(call.arguments[0], options)
    if code is None:
        from cais.cli.call import warn

        warn("read escape sequence")
        return 1
    return code
