"""What takes the space: images, containers, volumes, build cache."""

from __future__ import annotations

import os

from cais.engine.stores import Stores
from cais.host.files import tree_size_bytes
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.container.views import ContainerSummary
    from cais.engine.build_cache import CacheEntry
    from cais.engine.images import ImageSummary
    from cais.volume.records import Volume


# Of a snapshot: what is packed is in a blob, and counted there.
_TAKEN = "iif(packed NOTNULL, 0, size_bytes) AS size_bytes"


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
            SELECT DISTINCT coalesce(files, id), {_TAKEN} FROM snapshots WHERE chain_id IN (SELECT id FROM chain))"""
    )[0]
    # Layers that an unused image shares with a used one are not free.
    of_used = """WITH RECURSIVE used(key) AS (
            SELECT target FROM images WHERE id IN (SELECT image_id FROM containers)
            UNION SELECT child FROM edges JOIN used ON parent = used.key
        )"""
    bound = row(
        f"""{of_used} SELECT
            (SELECT coalesce(sum(size_bytes), 0) FROM blobs WHERE digest IN (SELECT key FROM used)) +
            (SELECT coalesce(sum(size_bytes), 0) FROM (SELECT DISTINCT coalesce(files, id), {_TAKEN}
                FROM snapshots WHERE 'chain:' || chain_id IN (SELECT key FROM used)))"""
    )[0]
    cache, cache_size = row(
        f"""{in_images}, cached(id) AS (
                SELECT chain_id FROM build_records
                UNION SELECT parent FROM snapshots JOIN cached ON chain_id = cached.id WHERE parent NOTNULL
            ), own AS (
                SELECT DISTINCT coalesce(files, id) AS directory, {_TAKEN} FROM snapshots
                WHERE chain_id IN (SELECT id FROM cached) AND chain_id NOT IN (SELECT id FROM chain)
            ) SELECT count(*), coalesce(sum(size_bytes), 0) FROM own WHERE directory NOT IN (
                SELECT coalesce(files, id) FROM snapshots WHERE chain_id IN (SELECT id FROM chain))"""
    )
    rows = stores.database.rows("SELECT snapshot, running FROM containers")
    sizes = [(tree_size_bytes(os.path.join(stores.snapshots.directory, id, "fs")), bool(on)) for id, on in rows]
    volumes = [(max(0, size), bool(links)) for _, links, size in _volumes(stores)]
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


class UsageDetails(NamedTuple):
    """What ``system df -v`` shows. Sizes are in bytes.

    ``images``: each with what it shares with other images, and how many containers it has. ``containers``: each with
    its own size. ``volumes``: each with how many containers have it, and its size (-1: mounted from elsewhere).
    """

    images: list[tuple[ImageSummary, int, int]]
    containers: list[tuple[ContainerSummary, int]]
    volumes: list[tuple[Volume, int, int]]
    cache: list[CacheEntry]


def details(stores: Stores) -> UsageDetails:
    """Every image, container, volume and entry of the build cache with what it takes."""
    from cais.engine.build import Builder
    from cais.engine.containers import Containers
    from cais.engine.images import Images

    shared = _shared(stores)
    users = dict(stores.database.rows("SELECT image_id, count(*) FROM containers GROUP BY image_id"))
    snapshots = dict(stores.database.rows("SELECT id, snapshot FROM containers"))
    containers = [
        (row, tree_size_bytes(os.path.join(stores.snapshots.directory, snapshots.get(row.id, ""), "fs")))
        for row in Containers(stores).list(all=True)
    ]
    images = [(row, shared.get(row.id, 0), users.get(row.id, 0)) for row in Images(stores).list()]
    return UsageDetails(images, containers, _volumes(stores), list(Builder(stores).cache()))


def _shared(stores: Stores) -> dict[str, int]:
    """By the id of an image: the size of its layers that other images have, too."""
    rows = stores.database.rows(
        """WITH RECURSIVE chains(image, chain) AS (
            SELECT DISTINCT id, chain FROM images WHERE chain != ''
            UNION SELECT image, parent FROM snapshots JOIN chains ON chain_id = chain WHERE parent NOTNULL
        ), several(chain) AS (SELECT chain FROM chains GROUP BY chain HAVING count(*) > 1)
        SELECT image, sum(size_bytes) FROM chains JOIN snapshots ON chain_id = chain
        WHERE chain IN (SELECT chain FROM several) GROUP BY image"""
    )
    return dict(rows)


def _volumes(stores: Stores) -> list[tuple[Volume, int, int]]:
    """All but caches of builds: each with how many containers have it, and its size (-1: from elsewhere)."""
    from cais.engine.volumes import Volumes

    volumes = Volumes(stores)
    found = volumes.list({"kind": ["local"]})
    return [(volume, volumes.links(volume.name), volumes.size_bytes(volume)) for volume in found]


def _sum(kind: str, sizes: list[tuple[int, bool]]) -> Usage:
    """``sizes``: of each thing in bytes, and whether it is in use."""
    idle = sum(size for size, used in sizes if not used)
    return Usage(kind, len(sizes), sum(used for _, used in sizes), sum(size for size, _ in sizes), idle)
