"""A command line that runs on another host: the same words, by ``ssh``, with terminal, streams and exit code passed on.

What the command would read or write of this machine's files goes through the streams where it can
(``remote_files``), and is refused by name where it cannot.
"""

from __future__ import annotations

import os
import signal
import sys

from cais.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from cais.cli.arguments import Given
    from cais.engine.contexts import Endpoint

# The program is looked for by the shell there, which says where it looked. It ends with the session of ssh, its parent:
# what is interrupted here does not go on there. A connection that several share (ControlMaster) outlives a command.
_SCRIPT = (
    'p=$1; shift; command -v "$p" >/dev/null 2>&1 || { echo "Error: $p is not installed on $(uname -n) '
    '(PATH=$PATH)" >&2; exit 125; }; '
    'if command -v setpriv >/dev/null 2>&1; then exec setpriv --pdeathsig TERM -- "$p" "$@"; fi; exec "$p" "$@"'
)


def run(endpoint: Endpoint, words: str, module: ModuleType, given: Given, debug: bool) -> int:
    """The exit code of the command there; 255 where ssh failed, which says why itself. Raises as ``remote_files``."""
    from cais.cli.remote_files import sent

    with sent(words, module, given) as plan:
        command = ["exec", *(("env", *plan.environment) if plan.environment else ())]
        command += ["sh", "-c", _SCRIPT, "cais", endpoint.program or "cais"]
        command += ["--debug"] if debug else []
        command += ["--root", endpoint.root] if endpoint.root else []
        command += [*words.split(), *(f"--{name}={text}" for name, text in plan.flags)]
        if any(item.startswith("-") and item != "-" for item in plan.arguments[:1]):
            command.append("--")
        command += plan.arguments
        code = _ssh(endpoint.host, command, plan.stdin, plan.stdout)
        plan.succeeded = code == 0
        return code


def _ssh(url: str, command: list[str], stdin: int, stdout: int) -> int:
    user, _, place = url.removeprefix("ssh://").rpartition("@")
    host, port = place, ""
    if place.rpartition(":")[2].isdecimal() and not place.endswith("]"):
        host, _, port = place.rpartition(":")
    # A terminal there is for who sits at one here, and for all three streams: they become one.
    terminal = stdin == 0 and stdout == 1 and all(os.isatty(number) for number in (0, 1, 2))
    words = ["ssh", "-t" if terminal else "-T", "-e", "none", "-o", "LogLevel=ERROR"]
    words += [*(("-p", port) if port else ()), *(("-l", user) if user else ()), "--", host.strip("[]")]
    words.append(" ".join((command[0], *map(_quoted, command[1:]))))
    sys.stdout.flush()
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    try:
        pid = os.posix_spawnp("ssh", words, os.environ, file_actions=actions)
    except FileNotFoundError:
        raise Unavailable("cannot reach another host: there is no ssh", hint="Install it (Debian: openssh-client).")
    if stdin > 2:
        os.close(stdin)  # its other end is to know when ssh has gone
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    while True:
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            continue  # ssh has it, too, and ends, or passes it on


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
