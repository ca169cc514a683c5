"""Plan: a graph and the records of earlier builds give each vertex a verdict. Pure: nothing runs, nothing is written.

A vertex is a **hit** when its key has a record, a **miss** when it has none, with the reason, and **pending** when an
input of it has to be built first: its key is made of its inputs' results, so that a step whose input was built anew and
came out the same is a hit after all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from cais.build.graph import Copy, Exec, GitSource, HttpSource, LocalSource, MakeDirectory, Merge, SourceImage, Vertex
from cais.build.records import Mark, Pruned, Record
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.image_config import chain_ids
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from cais.build.reasons import Difference, Reason
else:
    Protocol = object  # at run time a protocol is nothing but a class


class Result(NamedTuple):
    """A vertex's file system. ``chain`` is None for the empty one; ``layer`` is the record of what its op changed.

    ``below`` is of a Merge: what the layer, made on nothing, is laid upon. The snapshot is made when it is needed.
    """

    chain: Digest | None
    layer: Record | None = None
    below: Result | None = None


class Verdict(NamedTuple):
    """``state`` is ``hit``, ``miss`` or ``pending``; ``key`` and ``parts`` are there unless it is pending."""

    state: str
    result: Result | None = None
    reasons: tuple[Reason, ...] = ()
    key: str = ""
    parts: Mapping[str, Any] | None = None


class Facts(NamedTuple):
    """What was found out before planning: the chain of each base image, the digest of each copied selection."""

    bases: Mapping[Vertex, Digest | None]
    selections: Mapping[Vertex, Digest]
    epoch: int | None = None
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()


Content = Digest | Mapping[str, Digest]


class Lookup(Protocol):
    def find(self, key: str) -> Record | None: ...

    def earlier(self, mark: Mark) -> Sequence[Record]: ...

    def pruned(self, key: str, step: str) -> Pruned | None: ...

    def listing(self, digest: str) -> bytes | None: ...


class Planner:
    """``scope`` tells one Dockerfile's steps from another's; ``place`` is what that is called. ``difference`` names the
    files that two listings do not share."""

    def __init__(
        self, facts: Facts, records: Lookup, scope: str, difference: Difference | None = None, place: str = ""
    ) -> None:
        self.facts = facts
        self.records = records
        self._scope = scope
        self._difference = difference
        self._place = place
        self._instructions: frozenset[str] | None = None
        self._vertices: Sequence[Vertex] = ()

    def plan(self, vertices: Sequence[Vertex]) -> dict[Vertex, Verdict]:
        """``vertices`` stand in order: inputs before those that read them."""
        verdicts: dict[Vertex, Verdict] = {}
        self._vertices = vertices
        for vertex in vertices:
            inputs = [None if item is None else verdicts[item] for item in vertex.inputs]
            if any(verdict is not None and verdict.result is None for verdict in inputs):
                verdicts[vertex] = Verdict("pending")
            else:
                verdicts[vertex] = self.judge(vertex, [_result(verdict) for verdict in inputs])
        return verdicts

    def judge(
        self,
        vertex: Vertex,
        inputs: Sequence[Result],
        content: Content | None = None,
        listing: tuple[str, bytes] | None = None,
    ) -> Verdict:
        """One vertex whose inputs' results are known. ``content``: the digest of what it copies from a stage, of which
        ``listing`` says more; or of what its mounts show of stages, by their targets."""
        op = vertex.op
        if isinstance(op, SourceImage):
            return Verdict("hit", Result(self.facts.bases[vertex]))
        if isinstance(op, (LocalSource, HttpSource, GitSource)):
            return Verdict("hit", Result(None))
        if isinstance(op, Merge):
            return Verdict("hit", _merged(*inputs))
        parts = self._parts(vertex, inputs, content)
        key = hashlib.sha256(encode(parts)).hexdigest()
        if self.facts.no_cache or vertex.origin.stage.lower() in self.facts.no_cache_stages:
            from cais.build.reasons import NO_CACHE

            return Verdict("miss", None, (NO_CACHE,), key, parts)
        record = self.records.find(key)
        if record is not None:
            if not record.step:  # from elsewhere, where the step's place was another
                record = record._replace(parts=dict(parts), **self.mark(vertex)._asdict())
            return Verdict("hit", Result(record.chain_id, record), (), key, parts)
        return Verdict("miss", None, self._reasons(vertex, key, parts, listing), key, parts)

    def _reasons(
        self, vertex: Vertex, key: str, parts: Mapping[str, Any], listing: tuple[str, bytes] | None
    ) -> tuple[Reason, ...]:
        from cais.build.reasons import explain

        if self._instructions is None:
            self._instructions = frozenset(map(_instruction, self._vertices))
        mark = self.mark(vertex)
        others = self._instructions - {mark.instruction}
        return explain(vertex, key, parts, mark, self.records, others, self._difference, listing)

    def step(self, vertex: Vertex) -> str:
        """Which step of which Dockerfile ``vertex`` is, whatever it says now."""
        origin = vertex.origin
        # What is no step of its stage are the files that a mount shows.
        more = [part for part in (origin.platform, "" if origin.step else origin.text) if part]
        return _digest(self._scope, origin.stage, origin.step, type(vertex.op).__name__, *more)

    def mark(self, vertex: Vertex) -> Mark:
        """What is kept with the result of ``vertex``, so that it is found when it is asked what it was before."""
        origin = vertex.origin
        below = vertex.inputs[0] if vertex.inputs else None
        said = {"text": origin.text, "line": origin.first_line, "stage": origin.stage, "place": self._place}
        said["title"] = origin.title
        said["below"] = below.origin.text if below is not None else "FROM scratch"
        return Mark(self.step(vertex), _digest(self._scope, origin.stage), _instruction(vertex), said)

    def _parts(self, vertex: Vertex, inputs: Sequence[Result], content: Content | None) -> dict[str, Any]:
        op = vertex.op
        parts: dict[str, Any] = {"op": type(op).__name__, "parent": inputs[0].chain if inputs else None}
        if self.facts.epoch is not None:
            parts["epoch"] = self.facts.epoch
        if isinstance(op, Exec):
            parts.update(
                args=op.args, env=dict(op.env), cwd=op.cwd, user=op.user, network=op.network, **_exec_extras(op)
            )
            read = {mount.target: inputs[mount.input].chain for mount in op.mounts if mount.input >= 0}
            if read:
                parts["mounted"] = {**read, **content} if isinstance(content, Mapping) else read
        elif isinstance(op, Copy):
            parts.update(
                sources=op.sources, destination=op.destination, chown=op.chown, chmod=op.chmod, unpack=op.unpack
            )
            if op.exclude:
                parts["exclude"] = op.exclude
            if op.parents:
                parts["parents"] = True
            parts["inline"] = [[item.name, hashlib.sha256(item.data).hexdigest()] for item in op.inline]
            if op.more:
                # What else may differ in them is in "files", or the same as in the first.
                parts["more"] = [
                    [item.sources, item.unpack, [hashlib.sha256(file.data).hexdigest() for file in item.inline]]
                    for item in op.more
                ]
            if content is not None:
                parts["files"] = content
            elif op.from_context:
                parts["files"] = self.facts.selections.get(vertex)
            elif len(inputs) > 1:
                parts["from"] = inputs[1].chain
        elif isinstance(op, MakeDirectory):
            parts.update(path=op.path, user=op.user)
        return parts


def _exec_extras(op: Exec) -> dict[str, Any]:
    """What a later RUN option adds stands in the key only where it is used, so that old records stay good."""
    names = Exec._fields[Exec._fields.index("network") + 1 :]
    return {name: getattr(op, name) for name in names if name != "hidden_env" and getattr(op, name)}


def _instruction(vertex: Vertex) -> str:
    """What it does, wherever it stands and whatever it reads."""
    op = vertex.op
    if isinstance(op, Exec):
        return _digest("Exec", *op.args)
    if isinstance(op, Copy):
        return _digest("Copy", op.unpack, op.destination, *op.sources, *(item.name for item in op.inline))
    return _digest(type(op).__name__, op)


def _digest(*words: object) -> str:
    return hashlib.sha256("\0".join(map(str, words)).encode("utf-8", "surrogateescape")).hexdigest()


def _merged(below: Result, linked: Result) -> Result:
    assert linked.layer is not None
    if below.chain is None:
        return linked
    # Of two, the second's: the parent's own chain stands for all that is below.
    return Result(chain_ids((below.chain, linked.layer.diff_id))[1], linked.layer, below)


def _result(verdict: Verdict | None) -> Result:
    return Result(None) if verdict is None or verdict.result is None else verdict.result
