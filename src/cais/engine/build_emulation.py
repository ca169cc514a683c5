"""Steps of a build for other architectures than the host's: whether there is what runs them."""

from __future__ import annotations

from collections.abc import Sequence

from cais.build.graph import Exec, Vertex
from cais.host.binfmt import NotRunnable, need
from cais.spec.platform import Platform


def ensure_runnable(runs: Sequence[Vertex], host: Platform) -> None:
    """Raises Unsupported, with the line of the first step that cannot be run."""
    foreign: dict[str, Vertex] = {}
    for vertex in sorted(runs, key=lambda vertex: vertex.origin[:2]):
        if isinstance(vertex.op, Exec) and vertex.op.platform:
            foreign.setdefault(Platform.parse(vertex.op.platform).architecture, vertex)
    try:
        need(list(foreign), host.architecture)
    except NotRunnable as error:
        error.span = foreign[error.architecture].origin[:2]
        raise
