"""``cais builder ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List builder instances\n\nThere is one, named default: this machine. \"cais builder history ls\" lists builds.",
    flags=(
        Flag("format", "", "string", 'Format the output ("table", "json", or a Go template)', "table",
             complete="table,json"),
    ),
    examples=("cais builder ls",),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    from cais import __version__
    from cais.cli.table import show

    about = call.engine.builder.about()
    platforms = ", ".join(about.platforms)
    version = f"v{__version__}"
    if call["format"] in ("", "table"):
        rows = [
            ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"),
            (f"{about.name}*", about.driver, "", "", ""),
            (f" \\_ {about.name}", f" \\_ {about.name}", "running", version, platforms),
        ]
        widths = [max(map(len, column)) + 3 for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)]
            sys.stdout.write("".join(cells) + row[-1] + "\n")
        return 0
    fields = {
        "Buildkit": lambda about: version,
        "Current": lambda about: True,
        "DriverEndpoint": lambda about: about.driver,
        "LastActivity": lambda about: about.used,
        "Name": lambda about: about.name,
        "Platforms": lambda about: platforms,
        "Status": lambda about: "running",
    }
    headers = {name: name.upper() for name in fields}
    show([about], fields, headers, ("Name", "Status"), kind="ls", format=call["format"])
    return 0
