"""``cais logout``."""

from __future__ import annotations

from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[SERVER]",
    "Log out from a registry.\nIf no server is specified, it is Docker Hub.",
    arguments=(0, 1),
    examples=("cais logout registry.example.com",),
)


def run(call: Call) -> int:
    from cais.cli.call import say

    server = call.arguments[0] if call.arguments else ""
    say(f"Removing login credentials for {server or 'https://index.docker.io/v1/'}")
    call.engine.logins.logout(server)
    return 0
