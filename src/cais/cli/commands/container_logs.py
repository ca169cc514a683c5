"""``cais container logs``, ``cais logs``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from cais.cli.call import Call

_WHEN = '(e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    aliases=("container logs", "logs"),
    arguments=(1, 1),
    complete="container",
    flags=(
        Flag("details", "", "", "Show extra details provided to logs"),
        Flag("follow", "f", "", "Follow log output"),
        Flag("since", "", "string", f"Show logs since timestamp {_WHEN}"),
        Flag("tail", "n", "string", "Number of lines to show from the end of the logs", "all"),
        Flag("timestamps", "t", "", "Show timestamps"),
        Flag("until", "", "string", f"Show logs before a timestamp {_WHEN}"),
    ),
    examples=("cais logs web", "cais logs -f --tail 20 web"),
)


def run(call: Call) -> int:
    import os
    import time

    now = time.time_ns()
    tail = call["tail"]
    count = int(tail) if tail.isascii() and tail.isdigit() else None
    since, until = (_moment(call[flag], flag, now) for flag in ("since", "until"))
    containers = call.engine.containers
    name = call.arguments[0]
    if since is None and until is None and not call["timestamps"] and not call["details"]:
        containers.write_log(name, follow=call["follow"], tail=count)
        return 0
    lines = containers.logs(name, follow=call["follow"], tail=count, since_nanoseconds=since, until_nanoseconds=until)
    details = _details(containers.log_details(name)) if call["details"] else None
    for stream, text in _marked(lines, call["timestamps"], details):
        descriptor = 1 if stream == "stdout" else 2
        view = memoryview(text)
        while view:
            view = view[os.write(descriptor, view) :]
    return 0


def _moment(text: str, flag: str, now: int) -> int | None:
    if text in ("", "0"):
        return None
    from cais.cli.moments import nanoseconds
    from cais.errors import Invalid

    try:
        return nanoseconds(text, now)
    except Invalid as error:
        raise Invalid(f'invalid value for "{flag}": {error.message}', hint=error.hint)


def _marked(lines: Iterable[Any], timestamps: bool, details: bytes | None) -> Iterator[tuple[str, bytes]]:
    """With time and details before each line; a line that was written in parts has them once."""
    begun = dict.fromkeys(("stdout", "stderr"), False)
    for line in lines:
        head = b""
        if not begun[line.stream]:
            head = line.time.encode() + b" " if timestamps else b""
            if details is not None:
                head += details + b" "
        begun[line.stream] = not line.text.endswith(b"\n")
        yield line.stream, head + line.text


def _details(values: Mapping[str, str]) -> bytes:
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(values.items())).encode()
