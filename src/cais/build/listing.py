"""Listings: what a selection held, small enough to be kept with a build's record, so that a miss can be explained."""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Iterator

from cais.build.hashing import listed
from cais.build.selection import Selection
from cais.build.tree import shown
from cais.spec.named import NamedTuple

_VERSION = 1
# Beyond so many files only directories are told apart; the listing stays below about 4 MB.
FILES_LIMIT = 100_000
SHOWN = 5
CHANGES_LIMIT = 100
DIGEST_BYTES = 16
_LIMIT_BYTES = 256 << 20


def listing_of(selection: Selection) -> bytes:
    """Paths, modes and digests; ``selection.digests`` are there already (``hashing.read_digests``)."""
    whole = selection.files > FILES_LIMIT
    rows: list[tuple[str, object]] = []
    for (path, listing), digests in zip(listed(selection), selection.digests, strict=True):
        entries = marshal.loads(listing)
        if whole:
            import hashlib

            summary = marshal.dumps([(entry[0], entry[1], entry[6]) for entry in entries], 2) + digests
            rows.append((path, hashlib.sha256(summary).digest()[:DIGEST_BYTES]))
            continue
        rows.append(
            (
                path,
                [
                    (entry[0], entry[1], entry[6], digests[number * 32 : number * 32 + DIGEST_BYTES])
                    for number, entry in enumerate(entries)
                ],
            )
        )
    return zlib.compress(marshal.dumps((_VERSION, [source.path for source in selection.sources], rows), 2), 1)


class Change(NamedTuple):
    """One thing that is different of one file. ``what`` is added, removed, changed (a directory), content, mode, owner,
    kind, or a sentence
    where ``path`` is ""; ``more files`` has their number in ``before``.
    """

    path: str
    what: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        text = f"{self.what} {self.before} → {self.after}" if self.after else self.what
        return f"{self.path}: {text}" if self.path else text


def changes(old: bytes, new: bytes, limit: int = CHANGES_LIMIT) -> list[Change]:
    """What was added, removed or changed between two listings, of the first ``limit`` paths."""
    before, after = _decode(old), _decode(new)
    if before is None or after is None:
        return [Change("", "(the list of files was not kept)")]
    found: list[Change] = []
    paths = 0
    for path, what in _compared(before, after):
        paths += 1
        if paths <= limit:
            found += [item._replace(path=path) for item in what]
    if paths > limit:
        found.append(Change("", "more files", str(paths - limit)))
    return found or [Change("", "(the names or the order of the sources)")]


def difference(old: bytes, new: bytes) -> list[str]:
    """The first few paths that were added, removed or changed between two listings, each as ``path: what``."""
    texts: dict[str, list[str]] = {}
    for change in changes(old, new, SHOWN):
        text = f"... and {change.before} more" if change.what == "more files" else str(change._replace(path=""))
        texts.setdefault(change.path, []).append(text)
    return [f"{path}: {', '.join(parts)}" if path else ", ".join(parts) for path, parts in texts.items()]


def _compared(before: dict[str, object], after: dict[str, object]) -> Iterator[tuple[str, list[Change]]]:
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if isinstance(old, bytes) or isinstance(new, bytes):
            yield shown((path.lstrip(chr(0)) or ".") + "/"), [Change("", "changed")]
            continue
        single = path.startswith("\0")
        directory = path[1:].rpartition("/")[0] if single else path
        yield from _compared_entries(f"{directory}/" if directory else "", _by_name(old), _by_name(new))


def _by_name(entries: object) -> dict[str, tuple[int, int, bytes]]:
    return {entry[0]: entry[1:] for entry in entries} if isinstance(entries, list) else {}


def _compared_entries(
    prefix: str, old: dict[str, tuple[int, int, bytes]], new: dict[str, tuple[int, int, bytes]]
) -> Iterator[tuple[str, list[Change]]]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        path = shown(prefix + name)
        if before is None:
            yield path, [Change("", "added")]
        elif after is None:
            yield path, [Change("", "removed")]
        else:
            yield path, list(_changes(before, after))


def _changes(before: tuple[int, int, bytes], after: tuple[int, int, bytes]) -> Iterator[Change]:
    if before[0] >> 12 != after[0] >> 12:
        yield Change("", "kind", _kind(before[0]), _kind(after[0]))
    elif before[0] != after[0]:
        yield Change("", "mode", f"{before[0] & 0o7777:04o}", f"{after[0] & 0o7777:04o}")
    if before[1] != after[1]:
        yield Change("", "owner", _owner(before[1]), _owner(after[1]))
    if before[2] != after[2]:
        yield Change("", "content", before[2].hex()[:12], after[2].hex()[:12])


def _kind(mode: int) -> str:
    names = {
        0o14: "socket",
        0o12: "link",
        0o10: "file",
        0o06: "device",
        0o04: "directory",
        0o02: "device",
        0o01: "FIFO",
    }
    return names.get(mode >> 12, "unknown")


def _owner(owner: int) -> str:
    return f"{owner & 0xFFFFFFFF}:{owner >> 32}"


def _decode(listing: bytes) -> dict[str, object] | None:
    """None for what another version wrote, or what is broken."""
    try:
        data = zlib.decompressobj().decompress(listing, _LIMIT_BYTES)
        version, _, rows = marshal.loads(data)
        return dict(rows) if version == _VERSION else None
    except (zlib.error, ValueError, EOFError, TypeError):
        return None


def digests_by_directory(listing: bytes) -> dict[str, dict[str, tuple[int, int, bytes]]] | None:
    """For each directory its entries' (mode, owner, first 16 bytes of the digest); None where the listing says less."""
    rows = _decode(listing)
    if rows is None or any(isinstance(row, bytes) for row in rows.values()):
        return None
    return {path: _by_name(row) for path, row in rows.items()}
