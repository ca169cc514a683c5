"""Pruning the build cache: what is forgotten, and what that frees. Safe beside running builds.

What a running command holds is never forgotten, nor what something stands on that stays. A layer that an image has
stays with the image, whatever happens to its record.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.engine.build_cache import CacheEntry, entries
from cais.engine.build_cache_filter import parse_filters
from cais.engine.stores import Stores
from cais.errors import Conflict, NotFound
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.host.database import Transaction


class PruneOptions(NamedTuple):
    """Without ``all``, what images have, too, stays. ``filters`` are texts as ``until=24h``.

    ``keep_builds``: what the last so many builds used stays. With one of the three sizes (in bytes; 0: none) entries
    go, the longest unused first, until no more than ``max_used_bytes`` are used and ``min_free_bytes`` of the disk are
    free, and never below ``reserved_bytes``.
    """

    all: bool = False
    filters: Sequence[str] = ()
    keep_builds: int = 0
    reserved_bytes: int = 0
    max_used_bytes: int = 0
    min_free_bytes: int = 0
    dry_run: bool = False


class PruneReport(NamedTuple):
    """``reclaimed_bytes`` is what the disk got back; with ``dry_run`` what it would."""

    entries: tuple[CacheEntry, ...]
    reclaimed_bytes: int


def prune(stores: Stores, options: PruneOptions, command: str = "cais builder prune") -> PruneReport:
    """``command`` is who did it, for those who miss something later. Raises Invalid (a filter), Denied, Unavailable."""
    if options.dry_run:
        chosen = choose(stores, options)
        return PruneReport(tuple(chosen), sum(entry.size_bytes for entry in chosen if not entry.shared))
    with stores.database.transaction() as change:
        # Nobody begins to hold anything from here on until it is forgotten.
        chosen = choose(stores, options)
        _forget(stores, change, chosen, command)
    chosen = [entry for entry in chosen if entry.type != "exec.cachemount" or _remove_mount(stores, entry.key)]
    from cais.engine.collect import collect

    freed = sum(entry.size_bytes for entry in chosen if entry.type != "regular")
    return PruneReport(tuple(chosen), freed + collect(stores).size_bytes)


def _remove_mount(stores: Stores, name: str) -> bool:
    """False where a step began to use it, or it is gone."""
    from cais.volume.store import VolumeStore

    stores.snapshots.reach()  # its files may be of any owner
    try:
        VolumeStore(stores.root, stores.database).remove(name)
    except (Conflict, NotFound):
        return False
    return True


def choose(stores: Stores, options: PruneOptions) -> list[CacheEntry]:
    """What ``options`` ask to forget, the longest unused first."""
    import time

    fits = parse_filters(options.filters, time.time())
    since = _since(stores, options.keep_builds)
    found = entries(stores)
    keep_bytes = _keep_bytes(stores, options, sum(entry.size_bytes for entry in found if not entry.shared))
    wanted = [
        entry
        for entry in found
        if not entry.in_use
        and (options.all or not (entry.shared or entry.type in ("internal", "frontend")))
        and (since is None or entry.used < since)
        and fits(entry)
    ]
    return _from_the_top(found, wanted, keep_bytes)


def _from_the_top(found: list[CacheEntry], wanted: list[CacheEntry], keep_bytes: int) -> list[CacheEntry]:
    """Of ``wanted``, what nothing stands on that stays; no more than it takes to come down to ``keep_bytes``."""
    import heapq

    children: dict[str, int] = {}
    for entry in found:
        if entry.parent_key:
            children[entry.parent_key] = children.get(entry.parent_key, 0) + 1
    by_key = {entry.key: entry for entry in wanted}
    ready = [(entry.used, entry.key) for entry in wanted if not children.get(entry.key)]
    heapq.heapify(ready)
    total = sum(entry.size_bytes for entry in found if not entry.shared)
    chosen = []
    while ready and (keep_bytes < 0 or total > keep_bytes):
        entry = by_key[heapq.heappop(ready)[1]]
        chosen.append(entry)
        if not entry.shared:
            total -= entry.size_bytes
        if entry.parent_key:
            children[entry.parent_key] -= 1
            if not children[entry.parent_key] and (parent := by_key.get(entry.parent_key)) is not None:
                heapq.heappush(ready, (parent.used, parent.key))
    return chosen


def _keep_bytes(stores: Stores, options: PruneOptions, total: int) -> int:
    """How much may stay, as BuildKit counts; -1: everything that fits goes."""
    if not (options.reserved_bytes or options.max_used_bytes or options.min_free_bytes):
        return -1
    keep = options.max_used_bytes or (total if options.min_free_bytes else 0)
    if options.min_free_bytes:
        disk = os.statvfs(stores.root)
        keep = min(keep, total - max(0, options.min_free_bytes - disk.f_bavail * disk.f_frsize))
    return max(keep, options.reserved_bytes, 0)


def _since(stores: Stores, builds: int) -> float | None:
    """When the earliest of the last ``builds`` began; None where nothing is kept for them."""
    if builds <= 0:
        return None
    row = stores.database.row(
        "SELECT min(started) FROM (SELECT started FROM builds ORDER BY started DESC LIMIT ?)", (builds,)
    )
    return None if row is None or row[0] is None else float(row[0])


def _forget(stores: Stores, change: Transaction, chosen: Sequence[CacheEntry], command: str) -> None:
    from cais.build.records import Records

    Records.forget(change, [entry.key for entry in chosen if entry.type == "regular"], command)
    fetched = [entry.key for entry in chosen if entry.type in ("source.http", "source.git.checkout")]
    if fetched:
        stores.sources.forget_within(change, fetched)
    for entry in chosen:
        if entry.type == "source.local":
            for kind in ("files", "selections"):
                try:
                    os.unlink(f"{entry.key}.{kind}")
                except FileNotFoundError:
                    pass
