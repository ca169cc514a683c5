"""Plan: a graph and the records of earlier builds give each vertex a verdict. Pure: nothing runs, nothing is written.

A vertex is a **hit** when its key has a record, a **miss** when it has none, with the reason, and **pending** when an
input of it has to be built first: its key is made of its inputs' results, so that a step whose input was built anew and
came out the same is a hit after all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from cais.build.graph import Copy, Exec, GitSource, HttpSource, LocalSource, MakeDirectory, SourceImage, Vertex
from cais.build.records import Record
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol
else:
    Protocol = object  # at run time a protocol is nothing but a class


class Result(NamedTuple):
    """A vertex's file system. ``chain`` is None for the empty one; ``layer`` is the record of what its op changed."""

    chain: Digest | None
    layer: Record | None = None


class Reason(NamedTuple):
    """Why a step is not in the cache: ``what`` changed (and its ``name``), from ``before`` to ``after``."""

    what: str
    name: str = ""
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        text = f"{self.what} {self.name}".rstrip()
        if self.before or self.after:
            text += f": {_shown(self.before)} → {_shown(self.after)}"
        return text


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


class Lookup(Protocol):
    def find(self, key: str) -> Record | None: ...

    def latest(self, step: str) -> Record | None: ...

    def listing(self, digest: str) -> bytes | None: ...


Difference = Callable[[bytes, bytes], Sequence[str]]


class Planner:
    """``scope`` tells one Dockerfile's steps from another's. ``difference`` names the files that two listings do not
    share."""

    def __init__(self, facts: Facts, records: Lookup, scope: str, difference: Difference | None = None) -> None:
        self.facts = facts
        self.records = records
        self._scope = scope
        self._difference = difference

    def plan(self, vertices: Sequence[Vertex]) -> dict[Vertex, Verdict]:
        """``vertices`` stand in order: inputs before those that read them."""
        verdicts: dict[Vertex, Verdict] = {}
        for vertex in vertices:
            inputs = [None if item is None else verdicts[item] for item in vertex.inputs]
            if any(verdict is not None and verdict.result is None for verdict in inputs):
                verdicts[vertex] = Verdict("pending")
            else:
                verdicts[vertex] = self.judge(vertex, [_result(verdict) for verdict in inputs])
        return verdicts

    def judge(self, vertex: Vertex, inputs: Sequence[Result], content: Digest | None = None) -> Verdict:
        """One vertex whose inputs' results are known. ``content``: the digest of what it copies from a stage."""
        op = vertex.op
        if isinstance(op, SourceImage):
            return Verdict("hit", Result(self.facts.bases[vertex]))
        if isinstance(op, (LocalSource, HttpSource, GitSource)):
            return Verdict("hit", Result(None))
        parts = self._parts(vertex, inputs, content)
        key = hashlib.sha256(encode(parts)).hexdigest()
        if self.facts.no_cache:
            return Verdict("miss", None, (Reason("the cache is not used (--no-cache)"),), key, parts)
        record = self.records.find(key)
        if record is not None:
            return Verdict("hit", Result(record.chain_id, record), (), key, parts)
        return Verdict("miss", None, tuple(self._reasons(vertex, parts)), key, parts)

    def step(self, vertex: Vertex) -> str:
        """Which step of which Dockerfile ``vertex`` is, whatever it says now."""
        origin = vertex.origin
        name = f"{self._scope}\0{origin.stage}\0{origin.step}\0{type(vertex.op).__name__}"
        if origin.platform:
            name += f"\0{origin.platform}"
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()

    def _parts(self, vertex: Vertex, inputs: Sequence[Result], content: Digest | None) -> dict[str, Any]:
        op = vertex.op
        parts: dict[str, Any] = {"op": type(op).__name__, "parent": inputs[0].chain if inputs else None}
        if self.facts.epoch is not None:
            parts["epoch"] = self.facts.epoch
        if isinstance(op, Exec):
            parts.update(
                args=op.args, env=dict(op.env), cwd=op.cwd, user=op.user, network=op.network, **_exec_extras(op)
            )
        elif isinstance(op, Copy):
            parts.update(
                sources=op.sources, destination=op.destination, chown=op.chown, chmod=op.chmod, unpack=op.unpack
            )
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

    def _reasons(self, vertex: Vertex, parts: Mapping[str, Any]) -> list[Reason]:
        before = self.records.latest(self.step(vertex))
        if before is None:
            return [Reason("this step was not built before")]
        old, reasons = before.parts, []
        if old.get("parent") != parts["parent"]:
            reasons.append(self._parent_reason(vertex, old, parts))
        reasons += [
            Reason(_CALLED[name], "", _plain(old.get(name)), _plain(parts.get(name)))
            for name in _CALLED
            if _plain(old.get(name)) != _plain(parts.get(name))
        ]
        old_env, new_env = old.get("env", {}), parts.get("env", {})
        reasons += [
            Reason("the variable", name, old_env.get(name, "(not set)"), new_env.get(name, "(not set)"))
            for name in sorted({*old_env, *new_env})
            if old_env.get(name) != new_env.get(name)
        ]
        if old.get("inline") != parts.get("inline") or old.get("scripts") != _as_kept(parts.get("scripts")):
            reasons.append(Reason("the here-document"))
        if old.get("files") != parts.get("files"):
            reasons.extend(self._file_reasons(old.get("files"), parts.get("files")))
        if not reasons and old.get("from") != parts.get("from"):
            reasons.append(Reason("the stage that it copies from"))
        return reasons or [Reason("its result was pruned")]

    def _parent_reason(self, vertex: Vertex, old: Mapping[str, Any], parts: Mapping[str, Any]) -> Reason:
        below = vertex.inputs[0]
        if below is not None and isinstance(below.op, SourceImage):
            return Reason("the base image", below.op.reference, _chain(old.get("parent")), _chain(parts["parent"]))
        text = below.origin.text if below is not None else "the empty image"
        return Reason(
            "the step before gave another result", f"({text})", _chain(old.get("parent")), _chain(parts["parent"])
        )

    def _file_reasons(self, old: str | None, new: str | None) -> list[Reason]:
        listings = [self.records.listing(digest) if digest else None for digest in (old, new)]
        if self._difference is None or listings[0] is None or listings[1] is None:
            return [Reason("the copied files", "", _chain(old), _chain(new))]
        return [Reason("the file", text) for text in self._difference(listings[0], listings[1])]


def _exec_extras(op: Exec) -> dict[str, Any]:
    """What a later RUN option adds stands in the key only where it is used, so that old records stay good."""
    names = Exec._fields[Exec._fields.index("network") + 1 :]
    return {name: getattr(op, name) for name in names if name != "hidden_env" and getattr(op, name)}


_CALLED = {
    "args": "the command",
    "sources": "the list of sources",
    "destination": "the destination",
    "chown": "--chown",
    "chmod": "--chmod",
    "cwd": "the working directory",
    "user": "the user",
    "network": "--network",
    "path": "the path",
    "epoch": "SOURCE_DATE_EPOCH",
}


def _result(verdict: Verdict | None) -> Result:
    return Result(None) if verdict is None or verdict.result is None else verdict.result


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value)


def _as_kept(value: Any) -> Any:
    """As it comes back from a record, where tuples are lists."""
    return [_as_kept(item) for item in value] if isinstance(value, (list, tuple)) else value


def _chain(digest: str | None) -> str:
    return Digest(digest).short if digest else "(none)"


def _shown(text: str) -> str:
    text = text if len(text) <= 200 else text[:199] + "…"
    return repr(text) if text != text.strip() or "\n" in text or not text else text
