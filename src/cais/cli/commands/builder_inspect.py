"""``cais builder inspect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[NAME]",
    "Inspect current builder instance",
    arguments=(0, 1),
    flags=(Flag("bootstrap", "", "", "Ensure builder has booted before inspecting"),),
    examples=("cais builder inspect",),
)


def run(call: Call) -> int:
    import sys

    from cais import __version__
    from cais.cli.units import binary_size, local_time
    from cais.errors import NotFound

    if call.arguments and call.arguments[0] != "default":
        raise NotFound(f'no builder "{call.arguments[0]}" found', hint="There is one builder: default.")
    about = call.engine.builder.about()
    limits = about.bound
    lines = [("Name", about.name), ("Driver", about.driver)]
    if about.used:
        lines.append(("Last Activity", local_time(about.used)))
    text = _aligned(lines, 15) + "\nNodes:\n"
    text += _aligned(
        [
            ("Name", about.name),
            ("Endpoint", about.endpoint),
            ("Status", "running"),
            ("Cais version", f"v{__version__}"),
            ("Platforms", ", ".join(about.platforms)),
        ],
        18,
    )
    rules = [("All", "true"), ("Keep Duration", f"{limits.age_seconds / 3600:g}h")] if limits.age_seconds else []
    if rules:
        text += "GC Policy rule#0:\n" + _aligned(rules, 15, " ")
    sizes = [
        ("Reserved Space", limits.reserved), ("Max Used Space", limits.max_used), ("Min Free Space", limits.min_free),
    ]  # fmt: skip
    if limits.max_used or limits.min_free:
        text += f"GC Policy rule#{1 if rules else 0}:\n" + _aligned(
            [("All", "false"), *((name, binary_size(size)) for name, size in sizes if size)], 16, " "
        )
    sys.stdout.write(text)
    return 0


def _aligned(lines: list[tuple[str, str]], width: int, indent: str = "") -> str:
    return "".join(f"{indent}{name + ':':<{width}}{value}\n" for name, value in lines)
