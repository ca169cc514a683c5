"""``cais builder history inspect``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [BUILD]",
    'Inspect a build\n\nBUILD is an id or the start of one, as "cais builder history ls" shows it, or ^1 for the build '
    "before the last; the default is the last build.",
    arguments=(0, 1),
    complete="build",
    flags=(
        Flag("format", "f", "string", 'Format output: "pretty", "json", or a Go template', "pretty",
             complete="pretty,json"),
    ),
    examples=(
        "cais builder history inspect",
        "cais builder history inspect ^1",
        "cais builder history inspect -f json 3f2a1b",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    from cais.cli.documents import formatted

    record = call.engine.builder.record("".join(call.arguments))
    if call["format"] == "pretty":
        sys.stdout.write("".join(_pretty(record)))
    elif call["format"] == "json":
        import json

        sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(formatted(record, call["format"]) + "\n")
    return 0


def _pretty(record: Mapping[str, Any]) -> Iterator[str]:
    import time

    from cais.cli.commands.builder_history_ls import STATUS, duration
    from cais.cli.explain import is_step, of_build
    from cais.cli.units import human_size

    options = record.get("options", {})
    steps = [step for step in record["steps"] if is_step(step)]
    result = record.get("result", {})
    rows: list[tuple[str, str]] = [
        ("Build ID", record["id"]),
        ("Name", record["name"]),
        ("Status", STATUS.get(record["status"], record["status"])),
        ("Context", options.get("context", "")),
        ("Dockerfile", record.get("dockerfile", {}).get("path", "")),
        ("Target", options.get("target", "")),
        ("Platforms", ", ".join(record.get("platforms", ()))),
        ("Started", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["started"]))),
        ("Duration", duration(record["finished"] - record["started"]) if record["finished"] else ""),
    ]
    if steps:
        cached = sum(step["state"] == "hit" for step in steps)
        done = cached + sum(step["state"] == "miss" for step in steps)
        rows.append(("Build Steps", f"{done}/{len(steps)} ({100 * cached // len(steps)}% cached)"))
        rows.append(("New Layers", human_size(sum(step["size_bytes"] for step in steps if step["state"] == "miss"))))
    rows += [("Image", result.get("image_id", "")), ("Digest", result.get("digest", ""))]
    rows += [("Tag", name) for name in result.get("names", ())]
    yield "".join(f"{name + ':':<14}{_clean(value)}\n" for name, value in rows if value)
    for title, name in (("BUILD ARG", "build_args"), ("LABEL", "labels"), ("NAMED CONTEXT", "contexts")):
        pairs = options.get(name) or {}
        if pairs:
            width = max(len(title), *(len(key) for key in pairs)) + 3
            yield f"\n{title:<{width}}VALUE\n"
            yield "".join(f"{_clean(key):<{width}}{_clean(value)}\n" for key, value in pairs.items())
    if steps:
        yield "\n" + of_build(steps)
    error = record.get("error")
    if error:
        lines = str(error.get("lines") or "").rstrip("\n")
        yield f"\n{lines}\n" if lines else "\n"
        yield f"ERROR: {error['message']}\n"
        if error.get("hint"):
            yield f"{error['hint']}\n"


def _clean(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]
