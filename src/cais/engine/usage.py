"""What takes the space: images, containers, volumes, build cache."""

from __future__ import annotations

import os

from cais.engine.stores import Stores
from cais.host.files import tree_size_bytes
from cais.spec.named import NamedTuple


class Usage(NamedTuple):
    """One row of ``system df``. Sizes are in bytes."""

    kind: str
    total: int
    active: int
    size_bytes: int
    reclaimable_bytes: int


def usage(stores: Stores) -> list[Usage]:
    """Docker's four rows of ``system df``. Sizes of images and cache are those of their layers, each counted once."""
    row = stores.database.row
    images = row("SELECT count(DISTINCT id) FROM images")[0]
    used = row("SELECT count(DISTINCT id) FROM images WHERE id IN (SELECT image_id FROM containers)")[0]
    blobs = row("SELECT coalesce(sum(size_bytes), 0) FROM blobs")[0]
    in_images = """WITH RECURSIVE chain(id) AS (
            SELECT chain FROM images WHERE chain != ''
            UNION SELECT parent FROM snapshots JOIN chain ON chain_id = chain.id WHERE parent NOTNULL
        )"""
    layers = row(
        f"""{in_images} SELECT coalesce(sum(size_bytes), 0) FROM (
            SELECT DISTINCT coalesce(files, id), size_bytes FROM snapshots WHERE chain_id IN (SELECT id FROM chain))"""
    )[0]
    # Layers that an unused image shares with a used one are not free.
    of_used = """WITH RECURSIVE used(key) AS (
            SELECT target FROM images WHERE id IN (SELECT image_id FROM containers)
            UNION SELECT child FROM edges JOIN used ON parent = used.key
        )"""
    bound = row(
        f"""{of_used} SELECT
            (SELECT coalesce(sum(size_bytes), 0) FROM blobs WHERE digest IN (SELECT key FROM used)) +
            (SELECT coalesce(sum(size_bytes), 0) FROM (SELECT DISTINCT coalesce(files, id), size_bytes
                FROM snapshots WHERE 'chain:' || chain_id IN (SELECT key FROM used)))"""
    )[0]
    cache, cache_size = row(
        f"""{in_images}, cached(id) AS (
                SELECT chain_id FROM build_records
                UNION SELECT parent FROM snapshots JOIN cached ON chain_id = cached.id WHERE parent NOTNULL
            ), own AS (
                SELECT DISTINCT coalesce(files, id) AS directory, size_bytes FROM snapshots
                WHERE chain_id IN (SELECT id FROM cached) AND chain_id NOT IN (SELECT id FROM chain)
            ) SELECT count(*), coalesce(sum(size_bytes), 0) FROM own WHERE directory NOT IN (
                SELECT coalesce(files, id) FROM snapshots WHERE chain_id IN (SELECT id FROM chain))"""
    )
    rows = stores.database.rows("SELECT snapshot, running FROM containers")
    sizes = [(tree_size_bytes(os.path.join(stores.snapshots.directory, id, "fs")), bool(on)) for id, on in rows]
    rows = stores.database.rows(
        "SELECT id, EXISTS (SELECT 1 FROM container_volumes WHERE volume = volumes.name) FROM volumes"
        " WHERE kind != 'cache'"
    )
    volumes = [(tree_size_bytes(os.path.join(stores.root, "volumes", id, "data")), bool(used)) for id, used in rows]
    # What a RUN keeps between builds.
    rows = stores.database.rows("SELECT id FROM volumes WHERE kind = 'cache'")
    kept = [tree_size_bytes(os.path.join(stores.root, "volumes", id, "data")) for (id,) in rows]
    total = layers + blobs
    return [
        Usage("Images", images, used, total, max(0, total - bound)),
        _sum("Containers", sizes),
        _sum("Local Volumes", volumes),
        Usage("Build Cache", cache + len(kept), 0, cache_size + sum(kept), cache_size + sum(kept)),
    ]


def _sum(kind: str, sizes: list[tuple[int, bool]]) -> Usage:
    """``sizes``: of each thing in bytes, and whether it is in use."""
    idle = sum(size for size, used in sizes if not used)
    return Usage(kind, len(sizes), sum(used for _, used in sizes), sum(size for size, _ in sizes), idle)
