"""Listings: what a selection held, small enough to be kept with a build's record, so that a miss can be explained."""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Iterator

from cais.build.hashing import listed
from cais.build.selection import Selection
from cais.build.tree import shown

_VERSION = 1
# Beyond so many files only directories are told apart; the listing stays below about 4 MB.
FILES_LIMIT = 100_000
SHOWN = 5
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


def difference(old: bytes, new: bytes) -> list[str]:
    """The first few paths that were added, removed or changed between two listings, each as ``path: what``."""
    before, after = _decode(old), _decode(new)
    if before is None or after is None:
        return ["(the list of files was not kept)"]
    found: list[str] = []
    count = 0
    for text in _compared(before, after):
        count += 1
        if count <= SHOWN:
            found.append(text)
    if count > SHOWN:
        found.append(f"... and {count - SHOWN} more")
    return found or ["(the names or the order of the sources)"]


def _compared(before: dict[str, object], after: dict[str, object]) -> Iterator[str]:
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if isinstance(old, bytes) or isinstance(new, bytes):
            yield f"{shown((path.lstrip(chr(0)) or '.') + '/')}: something in it changed"
            continue
        single = path.startswith("\0")
        directory = path[1:].rpartition("/")[0] if single else path
        yield from _compared_entries(f"{directory}/" if directory else "", _by_name(old), _by_name(new))


def _by_name(entries: object) -> dict[str, tuple[int, int, bytes]]:
    return {entry[0]: entry[1:] for entry in entries} if isinstance(entries, list) else {}


def _compared_entries(
    prefix: str, old: dict[str, tuple[int, int, bytes]], new: dict[str, tuple[int, int, bytes]]
) -> Iterator[str]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        path = shown(prefix + name)
        if before is None:
            yield f"{path}: added"
        elif after is None:
            yield f"{path}: removed"
        else:
            yield f"{path}: {_changes(before, after)}"


def _changes(before: tuple[int, int, bytes], after: tuple[int, int, bytes]) -> str:
    texts = []
    if before[0] >> 12 != after[0] >> 12:
        texts.append(f"{_kind(before[0])} → {_kind(after[0])}")
    elif before[0] != after[0]:
        texts.append(f"mode {before[0] & 0o7777:04o} → {after[0] & 0o7777:04o}")
    if before[1] != after[1]:
        texts.append(f"owner {_owner(before[1])} → {_owner(after[1])}")
    if before[2] != after[2]:
        texts.append(f"content {before[2].hex()[:12]} → {after[2].hex()[:12]}")
    return ", ".join(texts)


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
