"""``cais builder logs``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [BUILD]",
    "Show the logs of the last builds.\n\nBUILD is an id or the start of one, as \"cais builder history ls\" shows "
    "it, or ^1 for the build before the last; the default is the last build.",
    arguments=(0, 1),
    complete="build",
    flags=(
        Flag("progress", "", "string", 'Set type of output ("plain", "rawjson")', "plain", complete="plain,rawjson"),
    ),
    aliases=("builder logs", "builder history logs"),
    examples=("cais builder logs", "cais builder history logs 3f2a1b", "cais builder history logs ^1"),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    from cais.errors import Invalid

    if call["progress"] not in ("plain", "rawjson"):
        raise Invalid(f"invalid progress mode {call['progress']!r}", hint="The modes are plain, rawjson.")
    build = "".join(call.arguments)
    events = call.engine.builder.log(build)
    if call["progress"] == "rawjson":
        from cais.cli.progress_raw import Raw

        raw = Raw(sys.stdout, call.engine.builder.record(build)["started"])
        for event in events:
            raw(event)
        return 0
    from cais.cli.progress_plain import Plain

    plain = Plain(sys.stdout)
    for event in events:
        plain(event)
    plain.close()
    return 0
