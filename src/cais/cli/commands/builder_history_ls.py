"""``cais builder history ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call
    from cais.engine.build_log import BuildRow

COMMAND = Command(
    "[OPTIONS]",
    "List the builds that are kept",
    flags=(
        Flag("filter", "", "stringArray", 'Provide filter values (e.g., "status=error", "name=app", "ref!=3f2a")'),
        list_format(),
        Flag("no-trunc", "", "", "Don't truncate output"),
        Flag("quiet", "q", "", "Only show the ids of builds"),
    ),
    examples=("cais builder history ls", "cais builder history ls --filter status=error", "cais builder history ls -q"),
)  # fmt: skip
# Buildx's words for how a build ended.
STATUS = {
    "running": "Running", "done": "Completed", "failed": "Error", "cancelled": "Canceled", "killed": "Killed",
}  # fmt: skip
_NAME_SHOWN = 40


def run(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age

    now = time.time()

    def name(build: BuildRow) -> str:
        text = build.name if build.name.isprintable() else ascii(build.name)
        return text if call["no-trunc"] or len(text) <= _NAME_SHOWN else text[: _NAME_SHOWN - 1] + "…"

    fields = {
        "CreatedAt": lambda build: age(build.started, now),
        "Duration": lambda build: duration((build.finished or now) - build.started) if _timed(build) else "",
        "Image": lambda build: build.image,
        "Name": name,
        "Ref": lambda build: build.id,
        "Status": lambda build: STATUS[build.status],
    }
    headers = {
        "CreatedAt": "CREATED AT", "Duration": "DURATION", "Image": "IMAGE", "Name": "NAME", "Ref": "BUILD ID",
        "Status": "STATUS",
    }  # fmt: skip
    tests = [_condition(text) for text in call["filter"]]
    rows = [row for row in call.engine.builder.list() if all(_matches(row, *test) for test in tests)]
    show(
        rows, fields, headers, ("Ref", "Name", "Status", "CreatedAt", "Duration"),
        kind="build", format=call["format"], quiet="Ref" if call["quiet"] else "",
    )  # fmt: skip
    return 0


def duration(seconds: float) -> str:
    """``0.4s``, ``1m 3s``, ``2h 0m``: as buildx writes it."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes}m {int(seconds % 60)}s"
    return f"{minutes // 60}h {minutes % 60}m"


def _timed(build: BuildRow) -> bool:
    return bool(build.finished) or build.status == "running"


def _condition(text: str) -> tuple[str, bool, str]:
    from cais.errors import Invalid

    name, equals, value = text.partition("=")
    wanted = not name.endswith("!")
    name = name.removesuffix("!")
    if not equals or name not in ("name", "ref", "status"):
        raise Invalid(f"invalid filter {text!r}", hint="The filters are name=, ref= and status=, and the same with !=.")
    return name, wanted, value


def _matches(row: BuildRow, name: str, wanted: bool, value: str) -> bool:
    if name == "status":
        found = value.lower() in (row.status, STATUS[row.status].lower())
    elif name == "ref":
        found = row.id.startswith(value)
    else:
        found = value in row.name
    return found == wanted
