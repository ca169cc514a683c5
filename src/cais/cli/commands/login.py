"""``cais login``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call
    from cais.engine.logins import Logins

COMMAND = Command(
    "[OPTIONS] [SERVER]",
    "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    arguments=(0, 1),
    flags=(
        Flag("password", "p", "string", "Password or Personal Access Token (PAT)"),
        Flag("password-stdin", "", "", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag("username", "u", "string", "Username"),
    ),
    examples=("cais login registry.example.com", "cais login -u ada --password-stdin localhost:5000 < token"),
)


def run(call: Call) -> int:
    import sys

    from cais.cli.call import say, warn
    from cais.errors import CaisError, Invalid

    server = call.arguments[0] if call.arguments else ""
    username, password = call["username"], call["password"]
    if "password" in call.said:
        if call["password-stdin"]:
            raise UsageError("conflicting options: cannot specify both --password and --password-stdin", 1, usage=False)
        warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        if not password:
            raise Invalid("password is empty")
    if "username" in call.said and not username:
        raise Invalid("username is empty")
    if call["password-stdin"]:
        if not username:
            raise UsageError("the --password-stdin option requires --username to be set", 1, usage=False)
        password = sys.stdin.read(_PASSWORD_LIMIT).removesuffix("\n").removesuffix("\r")
        if not password:
            raise Invalid("password is empty")
    logins = call.engine.logins
    if not username and not password and (known := logins.user(server)):
        say(f"Authenticating with existing credentials... [Username: {known}]")
        say("\n Info -> To login with a different account, run 'cais logout' followed by 'cais login'\n")
        try:
            logins.check(server)
        except CaisError as error:
            warn(f"Login did not succeed, error: {error.message}")
        else:
            say("\nLogin Succeeded")
            return 0
    if not username or not password:
        username, password = _asked(username, password)
    program = logins.login(server, username, password)
    if not program:
        _warn_of_file(logins)
    say("Login Succeeded")
    return 0


_PASSWORD_LIMIT = 64 << 10


def _asked(username: str, password: str) -> tuple[str, str]:
    """On the terminal, the password without an echo. Raises UsageError where there is none."""
    import os
    import sys

    if not os.isatty(0):
        raise UsageError("Error: Cannot perform an interactive login from a non TTY device", 1, usage=False)
    if not username:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        username = sys.stdin.readline().strip()
    if not password:
        password = _without_echo("Password: ")
    return username, password


def _without_echo(prompt: str) -> str:
    import sys
    import termios

    before = termios.tcgetattr(0)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    try:
        # Before the prompt: what is typed behind it must be neither shown nor flushed.
        termios.tcsetattr(0, termios.TCSAFLUSH, silent)
        sys.stdout.write(prompt)
        sys.stdout.flush()
        return sys.stdin.readline().rstrip("\r\n")
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
        sys.stdout.write("\n")


def _warn_of_file(logins: Logins) -> None:
    from cais.cli.call import warn

    warn(
        f"\nWARNING! Your credentials are stored unencrypted in '{logins.file}'.\n"
        "Configure a credential helper to remove this warning. See\n"
        "https://docs.docker.com/go/credential-store/\n"
    )
