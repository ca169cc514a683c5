"""``build --explain`` and ``build --plan``: what becomes of each step, and why; as a table for people, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from cais.engine.build import PlannedStep

# The exit code of a plan that is not all in the cache: neither success nor an error.
WOULD_RUN = 2

_WORDS = {"hit": "cached", "miss": "ran", "failed": "FAILED", "cancelled": "stopped", "pending": "not run"}
_PLANNED = {"hit": "cached", "miss": "runs", "pending": "depends", "fetch": "fetched"}
_COLOURS = {"hit": "34", "miss": "33", "failed": "31;1", "cancelled": "33", "pending": "2", "fetch": "33"}
_REASON_LIMIT = 500
# Of many files; the rest is counted.
_REASONS_SHOWN = 20


def of_build(steps: Iterable[Mapping[str, Any]], *, colour: bool = False, width: int = 0) -> str:
    """The steps of a build's record, in the order of the Dockerfile; ``width`` 0: nothing is cut."""
    shown = sorted((step for step in steps if is_step(step)), key=_place)
    counts = {state: sum(step["state"] == state for step in shown) for state in _WORDS}
    said = ", ".join(f"{count} {_WORDS[state]}" for state, count in counts.items() if count)
    rows = [
        _Row(
            step["state"],
            _WORDS[step["state"]],
            step["lines"][0],
            _seconds(step),
            step["title"],
            [item["text"] for item in step["reasons"]],
        )
        for step in shown
    ]
    return f"Steps: {len(shown)} ({said})\n" + _lines(rows, colour, width)


def of_plan(steps: Sequence[PlannedStep], *, colour: bool = False, width: int = 0) -> str:
    """As of a build that was not done yet."""
    ordered = sorted(steps, key=lambda step: step.line)
    cached = sum(step.state == "hit" for step in steps)
    fetched = sum(step.state == "fetch" for step in steps)
    left = len(steps) - cached - fetched
    head = f"{cached} cached, {left} to be looked at" if left else "everything is cached"
    if fetched:
        head += f", {fetched} to be fetched"
    rows = [_Row(step.state, _PLANNED[step.state], step.line, "", step.name, list(step.reasons)) for step in ordered]
    return f"Steps: {len(steps)} ({head})\n" + _lines(rows, colour, width)


def plan_document(steps: Sequence[PlannedStep]) -> dict[str, Any]:
    """What ``--plan=json`` prints."""
    return {
        "cached": _nothing_runs(steps),
        "steps": [
            {
                "name": step.name,
                "line": step.line,
                "state": step.state,
                "reasons": [{**reason._asdict(), "text": str(reason)} for reason in step.causes],
            }
            for step in steps
        ],
    }


def build_document(record: Mapping[str, Any]) -> dict[str, Any]:
    """What ``--explain=json`` prints: of the record the outcome and the steps."""
    steps = [step for step in record["steps"] if is_step(step)]
    return {
        "build": record["id"],
        "status": record["status"],
        **record.get("result", {}),
        "seconds": round(record["finished"] - record["started"], 3),
        "cached": sum(step["state"] == "hit" for step in steps),
        "ran": sum(step["state"] in ("miss", "failed") for step in steps),
        "steps": sorted(steps, key=_place),
    }


def is_step(step: Mapping[str, Any]) -> bool:
    """Not the loading of a context."""
    return bool(step["stage"] != "internal" or step["number"])


def _place(step: Mapping[str, Any]) -> tuple[int, int]:
    return step["lines"][0], step["id"]


def _seconds(step: Mapping[str, Any]) -> str:
    return f"{step['seconds']:.1f}s" if step["state"] in ("miss", "failed", "cancelled") else ""


class _Row(NamedTuple):
    state: str
    word: str
    line: int
    seconds: str
    title: str
    reasons: list[str]


def _lines(rows: Sequence[_Row], colour: bool, width: int) -> str:
    """A line a step, and below it, a little further in, its reasons."""
    words = max([6, *(len(row.word) for row in rows)])
    times = max([0, *(len(row.seconds) for row in rows)])

    def head(word: str, line: str, seconds: str) -> str:
        return f"{word:<{words}}  {line:>4}  " + (f"{seconds:>{times}}  " if times else "")

    lines = [head("RESULT", "LINE", "TIME"[:times]) + "STEP"]
    for row in rows:
        start = head(row.word, str(row.line or ""), row.seconds)
        line = start + _cut(_printable(row.title), width - len(start) if width else 0)
        lines.append(f"\x1b[{_COLOURS[row.state]}m{line}\x1b[0m" if colour else line)
        indent = " " * (len(start) + 2)
        shown = [_cut(_printable(text), _REASON_LIMIT) for text in row.reasons[:_REASONS_SHOWN]]
        if len(row.reasons) > _REASONS_SHOWN:
            shown.append(f"... and {len(row.reasons) - _REASONS_SHOWN} more reasons")
        lines += [f"\x1b[2m{indent}{text}\x1b[0m" if colour else indent + text for text in shown]
    return "".join(f"{line}\n" for line in lines)


def _printable(text: str) -> str:
    """Without what would move the cursor."""
    return text if text.isprintable() else "".join(item if item.isprintable() else " " for item in text)


def _cut(text: str, width: int) -> str:
    return text if width <= 0 or len(text) <= width else text[: max(1, width - 1)] + "…"


def show_plan(form: str, steps: Sequence[PlannedStep]) -> int:
    """On standard output. Returns the exit code: 0 where all is cached, else ``WOULD_RUN``."""
    if form == "json":
        _write_json(plan_document(steps))
    else:
        sys.stdout.write(of_plan(steps, colour=_coloured(sys.stdout), width=_width(sys.stdout)))
    return 0 if _nothing_runs(steps) else WOULD_RUN


def _nothing_runs(steps: Sequence[PlannedStep]) -> bool:
    return all(step.state in ("hit", "fetch") for step in steps)


def show_build(form: str, record: Mapping[str, Any]) -> None:
    """The table on standard error, JSON on standard output."""
    if form == "json":
        _write_json(build_document(record))
        return
    sys.stderr.write(of_build(record["steps"], colour=_coloured(sys.stderr), width=_width(sys.stderr)))
    sys.stderr.flush()


def _write_json(document: Mapping[str, Any]) -> None:
    import json

    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _coloured(stream: TextIO) -> bool:
    import os

    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width(stream: TextIO) -> int:
    """Of the terminal; 0 where there is none."""
    import os

    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0
