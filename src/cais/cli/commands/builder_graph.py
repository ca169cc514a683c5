"""``cais builder graph``."""

from __future__ import annotations

from collections.abc import Mapping

from cais.cli.declare import BadValue, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call

_FORMATS = ("html", "json", "dot")


def _format(text: str) -> None:
    if text not in _FORMATS:
        raise BadValue("must be html, json or dot")


COMMAND = Command(
    "[OPTIONS] [BUILD]",
    'Draw the graph of a build\n\nBUILD is an id or the start of one, as "cais builder history ls" shows it, or ^1 for '
    "the build before the last; the default is the last build.",
    arguments=(0, 1),
    complete="build",
    flags=(
        Flag("format", "", "string", 'Format of the output ("html", "json", "dot"; default: by the name of the file)',
             complete="html,json,dot", check=_format),
        Flag("output", "o", "string", "Write to a file, instead of STDOUT", complete="file"),
    ),
    examples=(
        "cais builder graph -o graph.html",
        "cais builder graph ^1 --format dot",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    record = call.engine.builder.record("".join(call.arguments))
    path = call["output"]
    format = call["format"] or next((name for name in _FORMATS if path.endswith("." + name)), "html")
    text = {"html": _html, "json": _json, "dot": _dot}[format](record)
    data = text.encode("utf-8", "replace")
    if path in ("", "-"):
        sys.stdout.buffer.write(data)
        return 0
    from cais.errors import from_os_error

    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise from_os_error(error, f"write {path}")
    return 0


def _html(record: Mapping[str, Any]) -> str:
    from cais.cli.graph_page import page

    return page(record)


def _json(record: Mapping[str, Any]) -> str:
    import json

    from cais.cli.graph_layout import layout

    placed = layout(record["steps"])
    steps = [
        {
            **step,
            "column": placed.places[step["id"]][0],
            "row": placed.places[step["id"]][1],
            "critical": step["id"] in placed.critical,
        }
        for step in record["steps"]
    ]
    document = {
        "build": record["id"],
        "name": record["name"],
        "status": record["status"],
        "critical_seconds": placed.critical_seconds,
        "steps": steps,
        "edges": placed.edges,
    }
    return json.dumps(document, indent=2) + "\n"


def _dot(record: Mapping[str, Any]) -> str:
    from cais.cli.graph_layout import layout

    placed = layout(record["steps"])
    colours = {"hit": "steelblue", "miss": "goldenrod", "failed": "red", "cancelled": "purple", "pending": "gray"}
    lines = ["digraph build {", "  rankdir=LR;", "  node [shape=box, fontname=monospace];"]
    for step in record["steps"]:
        label = f"{step['title']}\n{step['state']} {step['seconds']:.1f}s"
        width = ", penwidth=3" if step["id"] in placed.critical else ""
        lines.append(f"  n{step['id']} [label={_quoted(label)}, color={colours[step['state']]}{width}];")
    lines += [f"  n{source} -> n{target};" for source, target in placed.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    """A string of Graphviz: of control characters only the end of a line means something."""
    text = "".join(char if char == "\n" or char.isprintable() else " " for char in text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
