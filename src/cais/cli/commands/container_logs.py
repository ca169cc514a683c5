"""``cais container logs``, ``cais logs``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

_WHEN = '(e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    aliases=("container logs", "logs"),
    arguments=(1, 1),
    complete="container",
    flags=(
        Flag("follow", "f", "", "Follow log output"),
        Flag("since", "", "string", f"Show logs since timestamp {_WHEN}"),
        Flag("tail", "n", "string", "Number of lines to show from the end of the logs", "all"),
        Flag("timestamps", "t", "", "Show timestamps"),
        Flag("until", "", "string", f"Show logs before a timestamp {_WHEN}"),
    ),
    examples=("cais logs web", "cais logs -f --tail 20 web"),
)


def run(call: Call) -> int:
    import sys
    import time

    from cais.cli.values import moment

    now = time.time()
    tail = call["tail"]
    lines = call.engine.containers.logs(
        call.arguments[0],
        follow=call["follow"],
        tail=int(tail) if tail.isascii() and tail.isdigit() else None,
        since=moment(call["since"], now) if call["since"] else None,
        until=moment(call["until"], now) if call["until"] else None,
    )
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    for line in lines:
        stream = streams[line.stream]
        if call["timestamps"]:
            stream.write(line.time.encode() + b" ")
        stream.write(line.text)
        if call["follow"]:
            stream.flush()
    sys.stdout.buffer.flush()
    sys.stderr.buffer.flush()
    return 0
