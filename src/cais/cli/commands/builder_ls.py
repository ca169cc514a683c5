"""``cais builder ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List the last builds",
    flags=(list_format(), Flag("quiet", "q", "", "Only show the ids of builds")),
    examples=("cais builder ls",),
)


def run(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age

    now = time.time()
    fields = {
        "Duration": lambda build: f"{build.finished - build.started:.1f}s" if build.finished else "",
        "ID": lambda build: build.id,
        "Image": lambda build: build.image[7:19],
        "Name": lambda build: build.name,
        "Started": lambda build: age(build.started, now),
        "Status": lambda build: build.status,
    }
    headers = {name: name.upper() for name in fields}
    show(
        call.engine.builder.list(), fields, headers, ("ID", "Name", "Status", "Started", "Duration", "Image"),
        kind="build", format=call["format"], quiet="ID" if call["quiet"] else "",
    )  # fmt: skip
    return 0
