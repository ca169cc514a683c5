"""The trees that a build copies from: its own context, the named ones, and what ADD fetches."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable

from cais.build.context import Context
from cais.build.graph import Copy, GitSource, HttpSource, LocalSource, Vertex
from cais.spec.digest import Digest

TreeOp = LocalSource | HttpSource | GitSource


class Contexts:
    """``own`` is the build's context; ``open`` gives any other, once, when it is first asked for. Threads may share it.

    Closing it closes all of them.
    """

    def __init__(self, own: Context, open: Callable[[TreeOp], Context]) -> None:
        self.own = own
        self._open = open
        self._opened: dict[TreeOp, Context] = {}
        self._lock = RLock()

    def of(self, vertex: Vertex, number: int = 0) -> Context:
        """What the Copy ``vertex`` copies from, or the one of this number in ``more``, from 1.

        Raises what opening it raises.
        """
        source = vertex.inputs[1 + number]
        assert isinstance(vertex.op, Copy) and source is not None
        op = source.op
        assert isinstance(op, (LocalSource, HttpSource, GitSource))
        if op == LocalSource(""):
            return self.own
        with self._lock:
            found = self._opened.get(op)
            if found is None:
                found = self._opened[op] = self._open(op)
            return found

    def put(self, op: TreeOp, context: Context) -> None:
        """Gives a tree before it is asked for."""
        with self._lock:
            assert op not in self._opened
            self._opened[op] = context

    def digest(self, vertex: Vertex) -> Digest:
        """The content identity of all that a Copy from contexts names. Raises what selecting it raises."""
        assert isinstance(vertex.op, Copy)
        digest = self.of(vertex).digest(vertex.op)
        if not vertex.op.more:
            return digest
        rest = (self.of(vertex, number).digest(op) for number, op in enumerate(vertex.op.more, 1))
        return Digest.of("\0".join((digest, *rest)).encode())

    def close(self) -> None:
        self.own.close()
        for context in self._opened.values():
            context.close()
