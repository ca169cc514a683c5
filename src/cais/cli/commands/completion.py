"""``cais completion``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "bash|zsh|fish",
    "Generate the autocompletion script for the specified shell.\n\n"
    "It completes commands, flags, and the names of images, containers, volumes and builds.",
    arguments=(1, 1),
    complete="bash,zsh,fish",
    examples=(
        "source <(cais completion bash)",
        "cais completion bash > /etc/bash_completion.d/cais",
        'cais completion zsh > "${fpath[1]}/_cais"',
        "cais completion fish > ~/.config/fish/completions/cais.fish",
    ),
)


def run(call: Call) -> int:
    import sys

    from cais.cli.completion_scripts import SCRIPTS
    from cais.errors import Invalid

    shell = call.arguments[0]
    if shell not in SCRIPTS:
        raise Invalid(f"there is no completion for {shell!r}", hint=f"There is one for {', '.join(SCRIPTS)}.")
    sys.stdout.write(SCRIPTS[shell])
    return 0
