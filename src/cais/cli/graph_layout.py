"""Where the steps of a build stand in its picture. Pure.

A layered drawing, from left to right: a step's column is one more than the last of its inputs', so that every edge goes
to the right. Each stage has a lane of its own, in the order of the Dockerfile, in which its steps stand in one row, as
they stand upon each other; what else comes to stand at a taken place gets a row below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


CONTEXTS = "\0contexts"  # the lane of what is no step: no stage is called so


class Lane(NamedTuple):
    """A stage's rows: from ``row`` on, ``rows`` of them."""

    name: str
    row: int
    rows: int


class Layout(NamedTuple):
    """``places`` are (column, row) by the step's id; ``edges`` (from, to) by ids. ``critical`` are the ids of the
    longest chain by time, which took ``critical_seconds``: no build with these steps is faster.
    """

    places: Mapping[int, tuple[int, int]]
    edges: Sequence[tuple[int, int]]
    lanes: Sequence[Lane]
    columns: int
    rows: int
    critical: frozenset[int]
    critical_seconds: float


def layout(steps: Sequence[Mapping[str, Any]]) -> Layout:
    """``steps`` as in the record of a build, inputs before those that read them."""
    known = {step["id"] for step in steps}
    inputs = {step["id"]: [item for item in dict.fromkeys(step["inputs"]) if item in known] for step in steps}
    columns: dict[int, int] = {}
    for step in steps:
        columns[step["id"]] = max((columns[item] + 1 for item in inputs[step["id"]] if item in columns), default=0)
    lanes, rows = _lanes(steps, columns)
    edges = [(item, id) for id, items in inputs.items() for item in items if item in columns]
    critical, seconds = _critical(steps, inputs)
    count = sum(lane.rows for lane in lanes)
    return Layout(
        {id: (columns[id], rows[id]) for id in columns},
        edges,
        lanes,
        max(columns.values(), default=-1) + 1,
        count,
        critical,
        seconds,
    )


def _lanes(steps: Sequence[Mapping[str, Any]], columns: Mapping[int, int]) -> tuple[list[Lane], dict[int, int]]:
    members: dict[str, list[Mapping[str, Any]]] = {}
    for step in steps:
        members.setdefault(step["stage"] if step["number"] or step["lines"][0] else CONTEXTS, []).append(step)
    order = sorted(members, key=lambda name: min((step["lines"][0], step["id"]) for step in members[name]))
    lanes: list[Lane] = []
    rows: dict[int, int] = {}
    first = 0
    for name in order:
        taken: set[tuple[int, int]] = set()
        # A stage's own steps come first, so that they stay in one row.
        for step in sorted(members[name], key=lambda step: (step["number"] == 0, step["id"])):
            column, row = columns[step["id"]], 0
            while (column, row) in taken:
                row += 1
            taken.add((column, row))
            rows[step["id"]] = first + row
        height = max(row for _, row in taken) + 1
        lanes.append(Lane(name, first, height))
        first += height
    return lanes, rows


def _critical(steps: Sequence[Mapping[str, Any]], inputs: Mapping[int, Sequence[int]]) -> tuple[frozenset[int], float]:
    ends: dict[int, float] = {}
    before: dict[int, int] = {}
    for step in steps:
        id = step["id"]
        slowest = max((item for item in inputs[id] if item in ends), key=ends.__getitem__, default=0)
        if slowest:
            before[id] = slowest
        ends[id] = step["seconds"] + ends.get(slowest, 0.0)
    last = max(ends, key=ends.__getitem__, default=0)
    if not last or not ends[last]:
        return frozenset(), 0.0
    path, id = set(), last
    while id:
        path.add(id)
        id = before.get(id, 0)
    return frozenset(path), ends[last]
