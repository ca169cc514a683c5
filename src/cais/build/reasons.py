"""Why a step is not in the cache: what it was before, and what is different now. Pure, and loaded only for a miss.

A step is compared with the record that is most like it: its own of the last time, wherever in its stage it stood then,
or that of the same instruction in another Dockerfile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from cais.build.graph import ExecMount, SourceImage, Vertex
from cais.build.listing import Change
from cais.build.records import Mark, Pruned, Record
from cais.build.secret_names import looks_secret
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol
else:
    Protocol = object  # at run time a protocol is nothing but a class

HIDDEN = "(hidden)"
# Files that a short text names; the data has all of those that the comparison gave.
SHOWN_FILES = 5
# A step as unlike as this is another one, unless it stands where the earlier one stood.
_ALIKE = 0.5
_TEXT_LIMIT = 200


class Reason(NamedTuple):
    """Why a step is not in the cache: ``what`` changed (and its ``name``), from ``before`` to ``after``.

    ``kind`` is for programs: new, no-cache, pruned, base-image, parent, command, variable, heredoc, mount, stage,
    option, files, file-content, file-mode, file-owner, file-kind, file-added, file-removed, same (a hit after all),
    not-here, note.
    """

    what: str
    name: str = ""
    before: str = ""
    after: str = ""
    kind: str = "option"

    def __str__(self) -> str:
        text = f"{self.what} {self.name}".rstrip()
        aspect = f" {self.kind[5:]}" if self.kind.startswith("file-") else ""
        if self.before or self.after:
            before, after = narrowed(self.before, self.after)
            return f"{text}:{aspect} {_shown(before)} → {_shown(after)}"
        return f"{text}:{aspect}" if aspect else text


NEW = Reason("this step was not built before", kind="new")
NO_CACHE = Reason("the cache is not used (--no-cache)", kind="no-cache")
NOT_HERE = Reason("its layers are in the registry, and not here yet", kind="not-here")
SAME = Reason("what it stands on was built again and came out the same", kind="same")


class Earlier(Protocol):
    """What is known of earlier builds (``cais.build.records``)."""

    def earlier(self, mark: Mark) -> Sequence[Record]: ...

    def pruned(self, key: str, step: str) -> Pruned | None: ...

    def listing(self, digest: str) -> bytes | None: ...


Difference = Callable[[bytes, bytes], Sequence[Change]]


def explain(
    vertex: Vertex,
    key: str,
    parts: Mapping[str, Any],
    mark: Mark,
    lookup: Earlier,
    others: Set[str] = frozenset(),
    difference: Difference | None = None,
    listing: tuple[str, bytes] | None = None,
) -> tuple[Reason, ...]:
    """The reasons, the weightiest first; never none. ``others`` are the instructions of the graph's other steps: what
    was one of those before is not what this one was. ``difference`` names the files that two listings do not share.
    ``listing`` is that of a digest that ``lookup`` does not have yet.
    """
    pruned = lookup.pruned(key, mark.step)
    record = _most_alike(parts, mark, [item for item in lookup.earlier(mark) if item.instruction not in others])
    if record is None or (pruned is not None and pruned.same):
        return (NEW,) if pruned is None else (_pruned(pruned),)
    if record.key == key:
        return (Reason("its result is not there any more", kind="pruned"),)
    reasons = [_redacted(item) for item in _compared(vertex, record, parts, lookup, difference, listing)]
    if not reasons:
        return (NEW if pruned is None else _pruned(pruned),)
    if record.stage and record.stage != mark.stage and record.origin.get("place") != mark.origin.get("place"):
        place = str(record.origin.get("place") or "another Dockerfile")
        reasons.append(Reason("(compared with the same instruction of", f"{place})", kind="note"))
    return tuple(reasons)


def summary(reasons: Sequence[Reason]) -> str:
    """All in one line; of many files the first few."""
    texts: list[str] = []
    left_out = files = 0
    for reason in reasons:
        files += reason.kind.startswith("file")
        if reason.kind.startswith("file") and files > SHOWN_FILES:
            left_out += int(reason.name) if reason.what == "more files" else 1
            continue
        texts.append(str(reason))
    if left_out:
        texts.append(f"... and {left_out} more")
    return "; ".join(texts)


def _redacted(reason: Reason) -> Reason:
    """Without the credentials of URLs."""
    from cais.sources.urls import redacted

    return reason._replace(before=redacted(reason.before), after=redacted(reason.after))


def _pruned(pruned: Pruned) -> Reason:
    from cais.spec import timestamp

    when = timestamp.format(int(pruned.at)).replace("T", " ").replace("Z", " UTC")
    by = f" by {pruned.by}" if pruned.by else ""
    what = "its result was" if pruned.same else "what it was before is not known: the records of it were"
    return Reason(f"{what} removed{by}", f"on {when}", kind="pruned")


def _most_alike(parts: Mapping[str, Any], mark: Mark, records: Sequence[Record]) -> Record | None:
    best, most = None, 0.0
    words = _words(parts)
    for record in records:
        old = record.parts
        if old.get("op") != parts["op"]:
            continue
        likeness = 1.0 if record.instruction == mark.instruction else _likeness(_words(old), words)
        if likeness < _ALIKE and record.step != mark.step:
            continue
        score = 6 * likeness + (record.step == mark.step) + 0.5 * (record.stage == mark.stage)
        score += sum(plain(old.get(name)) == plain(parts.get(name)) for name in ("parent", "files", "env")) / 2
        if score > most:
            best, most = record, score
    return best


def _words(parts: Mapping[str, Any]) -> frozenset[str]:
    """What an instruction says, to be compared with another."""
    found: list[str] = []
    for name in ("args", "sources", "destination", "path"):
        value: Sequence[str] = parts.get(name) or ()
        if name == "args" and len(value) == 3 and value[1] == "-c":
            value = value[2:]  # every RUN has its shell
        for text in [value] if isinstance(value, str) else value:
            found += text.split()
    return frozenset(found)


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _compared(
    vertex: Vertex,
    record: Record,
    parts: Mapping[str, Any],
    lookup: Earlier,
    difference: Difference | None,
    listing: tuple[str, bytes] | None,
) -> list[Reason]:
    old = record.parts
    reasons: list[Reason] = []
    if old.get("parent") != parts.get("parent"):
        reasons.append(_parent(vertex, record, parts))
    for name in [*_CALLED, *sorted({*old, *parts}.difference(_CALLED, _APART))]:
        before, after = plain(old.get(name)), plain(parts.get(name))
        if before != after:
            kind = "command" if name == "args" else "option"
            reasons.append(Reason(_CALLED.get(name, f"--{name}"), "", _text(before), _text(after), kind))
    reasons += _variables(old.get("env") or {}, parts.get("env") or {})
    reasons += _heredocs(old, parts)
    reasons += _mounts(old.get("mounts") or (), parts.get("mounts") or ())
    reasons += _mounted(old.get("mounted") or {}, parts.get("mounted") or {})
    if old.get("files") != parts.get("files") and (old.get("files") and parts.get("files")):
        reasons += _files(old["files"], parts["files"], lookup, difference, listing)
    elif (old.get("from"), old.get("files")) != (parts.get("from"), parts.get("files")) and not reasons:
        source = vertex.inputs[1] if len(vertex.inputs) > 1 else None
        text = f"({source.origin.text})" if source is not None else ""
        reasons.append(
            Reason("what it copies from gave another result", text, *_chains(old, parts, "from"), kind="stage")
        )
    return reasons


def _parent(vertex: Vertex, record: Record, parts: Mapping[str, Any]) -> Reason:
    below = vertex.inputs[0] if vertex.inputs else None
    text = below.origin.text if below is not None else "FROM scratch"
    before = record.origin.get("below")
    chains = _chains(record.parts, parts, "parent")
    if below is not None and isinstance(below.op, SourceImage):
        if before and before != text and str(before).startswith("FROM "):
            return Reason("the base image", "", str(before)[5:], text[5:], "base-image")
        return Reason("the base image", below.op.reference, *chains, kind="base-image")
    if before and before != text:
        return Reason("it stands on another step", "", str(before), text, "parent")
    return Reason("the step before gave another result", f"({text})", *chains, kind="parent")


def _variables(old: Mapping[str, str], new: Mapping[str, str]) -> list[Reason]:
    reasons = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if looks_secret(name):
            before, after = (None if value is None else HIDDEN for value in (before, after))
        shown = ["(not set)" if value is None else value for value in (before, after)]
        reasons.append(Reason("the variable", name, shown[0], shown[1], "variable"))
    return reasons


def _heredocs(old: Mapping[str, Any], parts: Mapping[str, Any]) -> list[Reason]:
    """COPY's files by their digests, RUN's scripts by what they say."""
    reasons = []
    before, after = (dict(_pairs(part.get("inline"))) for part in (old, parts))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            shown = [f"content {item[:12]}" if item else "(none)" for item in (before.get(name), after.get(name))]
            reasons.append(Reason("the here-document", name, shown[0], shown[1], "heredoc"))
    before, after = (dict(_pairs(part.get("scripts"))) for part in (old, parts))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            texts = [before.get(name) or "(none)", after.get(name) or "(none)"]
            reasons.append(Reason("the here-document", name, texts[0], texts[1], "heredoc"))
    return reasons


def _pairs(value: Any) -> list[tuple[str, str]]:
    return [(str(item[0]), str(item[1])) for item in value or () if len(item) > 1]


def _mounts(old: Any, new: Any) -> list[Reason]:
    reasons = []
    before, after = _by_place(old), _by_place(new)
    for place in [*before, *(place for place in after if place not in before)]:
        one, other = before.get(place), after.get(place)
        if one is None or other is None:
            what = ("(none)", "mounted") if one is None else ("mounted", "(none)")
            reasons.append(Reason("the mount", place, *what, kind="mount"))
            continue
        for field, was, now in zip(ExecMount._fields, one, other, strict=False):
            if plain(was) != plain(now):
                reasons.append(
                    Reason("the mount", f"{place} {field}", _text(plain(was)), _text(plain(now)), kind="mount")
                )
    return reasons


def _mounted(old: Mapping[str, str], new: Mapping[str, str]) -> list[Reason]:
    """The files that mounts show, where both show any."""
    return [
        Reason("the files mounted at", target, *_chains(old, new, target), kind="mount")
        for target in new
        if target in old and old[target] != new[target]
    ]


def _by_place(mounts: Any) -> dict[str, Sequence[Any]]:
    return {f"{mount[0]} {mount[1] or mount[5]}": mount for mount in mounts if len(mount) > 5}


def _files(
    old: str, new: str, lookup: Earlier, difference: Difference | None, listing: tuple[str, bytes] | None
) -> list[Reason]:
    known = dict([listing]) if listing is not None else {}
    listings = [known.get(digest) or lookup.listing(digest) for digest in (old, new)]
    if difference is None or listings[0] is None or listings[1] is None:
        return [Reason("the copied files", "", Digest(old).short, Digest(new).short, kind="files")]
    reasons = []
    for change in difference(listings[0], listings[1]):
        if change.path:
            reasons.append(Reason("the file", change.path, change.before, change.after, f"file-{change.what}"))
        else:
            reasons.append(Reason(change.what, change.before, kind="files"))
    return reasons


def narrowed(before: str, after: str) -> tuple[str, str]:
    """Of two texts of several lines, only those that differ."""
    if "\n" not in before or "\n" not in after:
        return before, after
    old, new = before.split("\n"), after.split("\n")
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return "\n".join(old), "\n".join(new)


_CALLED = {
    "args": "the command",
    "sources": "the list of sources",
    "destination": "the destination",
    "exclude": "--exclude",
    "parents": "--parents",
    "chown": "--chown",
    "chmod": "--chmod",
    "cwd": "the working directory",
    "user": "the user",
    "network": "--network",
    "path": "the path",
    "epoch": "SOURCE_DATE_EPOCH",
    "hosts": "--add-host",
    "hostname": "the name of the host",
    "devices": "--device",
    "more": "the further sources",
}
# What is compared in a way of its own.
_APART = frozenset(("op", "parent", "env", "inline", "scripts", "mounts", "mounted", "files", "from"))


def plain(value: Any) -> Any:
    """As it comes back from a record, where tuples are lists; nothing at all is None."""
    if value is None or value == "" or value is False or value == [] or value == ():
        return None
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _text(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return " ".join(_text(item) if isinstance(item, list) else str(item) for item in value)
    if value is True:
        return "yes"
    return str(value)


def _chains(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> tuple[str, str]:
    one, other = ((Digest(part[name]).short if part.get(name) else "(none)") for part in (old, new))
    return one, other


def _shown(text: str) -> str:
    text = text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"
    return repr(text) if text != text.strip() or not text.isprintable() or not text else text
