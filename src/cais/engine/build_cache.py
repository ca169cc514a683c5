"""The build cache as things to look at: one entry for each result that builds keep, whatever keeps it.

A regular entry is a layer that records point at, or one that such a layer stands on and no image has. ``source.local``
is what is known of the files of a build context; ``source.http`` and ``source.git.checkout`` are what was fetched;
``exec.cachemount`` are the caches of ``RUN --mount=type=cache``.
"""

from __future__ import annotations

import hashlib
import json
import os

from cais.engine.stores import Stores
from cais.spec.named import NamedTuple

_UNIX_EPOCH_JULIAN = 2440587.5
_DAY_SECONDS = 86400.0
ID_LENGTH = 25


class CacheEntry(NamedTuple):
    """``id`` and ``parents`` are the starts of chain ids, or names of files; times are in seconds since 1970.

    ``shared``: an image has it, too, so that forgetting it frees nothing. ``in_use``: a running command holds it, or
    something above it. ``key`` is the whole chain id, or the path, of what is kept.
    """

    id: str
    type: str
    description: str
    created: float
    used: float
    uses: int
    size_bytes: int
    parents: tuple[str, ...] = ()
    shared: bool = False
    in_use: bool = False
    mutable: bool = False
    stages: tuple[str, ...] = ()
    dockerfiles: tuple[str, ...] = ()
    key: str = ""
    parent_key: str = ""


def entries(stores: Stores) -> list[CacheEntry]:
    """All that is kept for builds, the last used first."""
    found = [*_layers(stores), *_fetched(stores), *_mounts(stores), *_contexts(stores)]
    found.sort(key=lambda entry: (-entry.used, entry.id))
    return found


def _layers(stores: Stores) -> list[CacheEntry]:
    database = stores.database
    shared = {
        row[0][6:] for row in database.rows("SELECT child FROM edges WHERE child >= 'chain:' AND child < 'chain;'")
    }
    rows = database.rows(
        """WITH RECURSIVE cached(id) AS (
               SELECT chain_id FROM build_records
               UNION SELECT parent FROM snapshots JOIN cached ON chain_id = cached.id WHERE parent NOTNULL
           ) SELECT chain_id, parent, CASE WHEN files NOTNULL THEN 0 WHEN packed NOTNULL THEN
               coalesce((SELECT size_bytes FROM blobs WHERE digest = packed), 0) ELSE size_bytes END, created
           FROM snapshots WHERE chain_id IN (SELECT id FROM cached)"""
    )
    parents = {chain: parent for chain, parent, _, _ in rows}
    records: dict[str, list[tuple[str, str, str, float, float, int]]] = {}
    for chain, origin, *times in database.rows(
        "SELECT chain_id, origin, created, used, uses FROM build_records ORDER BY used DESC, created DESC"
    ):
        said = json.loads(origin)
        record = (said.get("title", ""), said.get("stage", ""), said.get("place", ""), *times)
        records.setdefault(chain, []).append(record)
    # What no record names and an image has is the image's, and no part of the cache.
    rows = [row for row in rows if row[0] in records or row[0] not in shared]
    in_use = _below(_leased(stores, "chain:"), parents)
    kept = {row[0] for row in rows}
    found = []
    for chain, parent, size_bytes, created in rows:
        known = records.get(chain, [])
        description, used, uses = "layer of a base image", created, 0
        if known:
            description, created = known[0][0], min(record[3] for record in known)
            used, uses = known[0][4], sum(record[5] for record in known)
        found.append(
            CacheEntry(
                _short(chain),
                "regular",
                description,
                _unix(created),
                _unix(used),
                uses,
                size_bytes,
                (_short(parent),) if parent in kept else (),
                chain in shared,
                chain in in_use,
                stages=tuple(dict.fromkeys(record[1] for record in known if record[1])),
                dockerfiles=tuple(dict.fromkeys(record[2] for record in known if record[2])),
                key=chain,
                parent_key=parent or "",
            )
        )
    return found


def _leased(stores: Stores, prefix: str) -> list[str]:
    """What living processes hold, of the keys that begin so."""
    rows = stores.database.rows(
        "SELECT lease, substr(key, ?) FROM lease_items WHERE key >= ? AND key < ?",
        (len(prefix) + 1, prefix, prefix[:-1] + ";"),
    )
    alive = {lease for lease in {row[0] for row in rows} if stores.leases.is_alive(lease)}
    return [key for lease, key in rows if lease in alive]


def _below(chains: list[str], parents: dict[str, str | None]) -> set[str]:
    found: set[str] = set()
    for chain in chains:
        item: str | None = chain
        while item is not None and item not in found:
            found.add(item)
            item = parents.get(item)
    return found


def _fetched(stores: Stores) -> list[CacheEntry]:
    from cais.sources.store import LEASE_PREFIX

    in_use = set(_leased(stores, LEASE_PREFIX))
    return [
        CacheEntry(
            kept.id[:ID_LENGTH], "source.http" if kept.kind == "file" else "source.git.checkout",
            f"{kept.kind} of {kept.shown}", kept.used, kept.used, 0, kept.size_bytes,
            in_use=kept.id in in_use, mutable=kept.kind == "repository", key=kept.key,
        )
        for kept in stores.sources.all()
    ]  # fmt: skip


def _mounts(stores: Stores) -> list[CacheEntry]:
    if stores.database.row("SELECT 1 FROM volumes WHERE kind = 'cache'") is None:
        return []
    from cais.host.files import tree_size_bytes
    from cais.volume.records import CACHE
    from cais.volume.store import VolumeStore

    store = VolumeStore(stores.root, stores.database)
    return [
        CacheEntry(
            hashlib.sha256(volume.name.encode()).hexdigest()[:ID_LENGTH], "exec.cachemount",
            f'cached mount with id "{volume.cache_id}"', volume.created, volume.last_used or volume.created, 0,
            tree_size_bytes(volume.path), in_use=store.in_use(volume), mutable=True, key=volume.name,
        )
        for volume in store.all() if volume.kind == CACHE
    ]  # fmt: skip


def _contexts(stores: Stores) -> list[CacheEntry]:
    directory = os.path.join(stores.root, "contexts")
    sizes: dict[str, tuple[int, float, float]] = {}
    try:
        with os.scandir(directory) as files:
            for file in files:
                name, _, kind = file.name.partition(".")
                if kind not in ("files", "selections"):
                    continue  # one that is being written
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                size, created, used = sizes.get(name, (0, status.st_mtime, 0.0))
                sizes[name] = (
                    size + status.st_blocks * 512,
                    min(created, status.st_mtime),
                    max(used, status.st_mtime, status.st_atime),
                )
    except FileNotFoundError:
        return []
    return [
        CacheEntry(
            name[:ID_LENGTH], "source.local", "local source for context", created, used, 0, size,
            mutable=True, key=os.path.join(directory, name),
        )
        for name, (size, created, used) in sizes.items()
    ]  # fmt: skip


def _short(chain: str) -> str:
    return chain.partition(":")[2][:ID_LENGTH]


def _unix(julian: float) -> float:
    return (julian - _UNIX_EPOCH_JULIAN) * _DAY_SECONDS


class Totals(NamedTuple):
    """In bytes. ``private`` is what no image has, ``reclaimable`` what no running command needs."""

    shared: int
    private: int
    reclaimable: int
    total: int


def totals(found: list[CacheEntry]) -> Totals:
    total = sum(entry.size_bytes for entry in found)
    shared = sum(entry.size_bytes for entry in found if entry.shared)
    return Totals(shared, total - shared, sum(entry.size_bytes for entry in found if not entry.in_use), total)
