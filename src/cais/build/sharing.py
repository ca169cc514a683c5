"""What several platforms' graphs have in common: one vertex for the same operation on the same inputs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cais.build.graph import Vertex, reachable
from cais.build.lowering.result import Lowered


def shared(targets: Sequence[Lowered]) -> list[Lowered]:
    """The same targets over one graph. A shared vertex has the origin of the first that stood for it.

    A stage that says ``FROM --platform=$BUILDPLATFORM`` and asks for nothing of the target's is built once so.
    """
    one: dict[tuple[object, ...], Vertex] = {}
    found: dict[Vertex, Vertex] = {}
    for vertex in reachable(*(target.vertex for target in targets)):
        inputs = tuple(None if item is None else found[item] for item in vertex.inputs)
        key = (type(vertex.op), vertex.op, inputs)
        if key not in one:
            one[key] = vertex if inputs == vertex.inputs else Vertex(vertex.op, inputs, vertex.origin)
        found[vertex] = one[key]
    return [
        target._replace(
            vertex=None if target.vertex is None else found[target.vertex],
            history=tuple(
                entry if entry.vertex is None else entry._replace(vertex=found[entry.vertex])
                for entry in target.history
            ),
        )
        for target in targets
    ]
