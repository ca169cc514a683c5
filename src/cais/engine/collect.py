"""Collecting garbage: what no image, container, build record or living process needs. Safe beside running commands."""

from __future__ import annotations

import os

from cais.engine.stores import Stores
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.host.database import Transaction


class Collected(NamedTuple):
    """``blobs`` and ``layers`` are (digest or chain id, size in bytes) of what was removed."""

    blobs: tuple[tuple[str, int], ...]
    layers: tuple[tuple[str, int], ...]

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.blobs) + sum(size for _, size in self.layers)


def collect(stores: Stores) -> Collected:
    """Removes what nothing reaches. Raises Unavailable or Denied."""
    from cais.build.records import ROOTS as BUILDS
    from cais.build.records import Records
    from cais.container.records import ROOTS as CONTAINERS
    from cais.content.collector import forget_blobs, mark, remove_blob_files
    from cais.host.files import remove_tree
    from cais.image.origins import Origins
    from cais.image.records import ROOTS as IMAGES
    from cais.image.records import ImageRecords
    from cais.snapshot.collector import EDGES, forget_snapshots, set_aside_orphans

    roots = [*IMAGES, *BUILDS, *CONTAINERS, "SELECT digest FROM tags"]
    with stores.database.transaction() as change:
        mark(change, stores.leases, roots, [EDGES])
        blobs = forget_blobs(change)
        ImageRecords.forget_layer_contents(change)
        Origins.forget_collected(change)
        layers = forget_snapshots(change, stores.leases)
        Records.forget_listings(change)
    with stores.database.transaction() as change:
        remove_blob_files(change, stores.content, stores.leases)
        aside = set_aside_orphans(change, stores.snapshots, stores.leases) + _orphans_of_builds(stores, change)
        fetched = stores.sources.orphans(change)
    if aside:
        stores.snapshots.reach()
    for path in aside + fetched:
        remove_tree(path)
    _remove_bundles(stores)
    return Collected(tuple(blobs), tuple(layers))


def _orphans_of_builds(stores: Stores, change: Transaction) -> list[str]:
    """Directories of builds that are not kept any more, and what killed builds unpacked or mounted on."""
    from cais.engine.build_log import is_running

    directory = os.path.join(stores.root, "builds")
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    kept = {row[0] for row in change.rows("SELECT id FROM builds")}
    found = []
    for name in names:
        id, _, lease = name.partition(".")
        if lease:
            if not stores.leases.is_alive(lease):
                found.append(os.path.join(directory, name))
        elif id not in kept:
            found.append(os.path.join(directory, name))
        else:
            context = os.path.join(directory, name, "context")
            if os.path.isdir(context) and not is_running(stores, id):
                found.append(context)
    return found


def _remove_bundles(stores: Stores) -> None:
    """What killed builds have left of their steps, and of the file systems mounted to copy from and to."""
    directory = os.path.join(stores.root, "run")
    try:
        if all(name.startswith(".") for name in os.listdir(directory)):
            return
    except FileNotFoundError:
        return
    from cais.runtime.guardian import remove_bundle
    from cais.runtime.runner import Runtime

    runtime = Runtime(stores.root, stores.settings.runtime)
    containers = frozenset(row[0] for row in stores.database.rows("SELECT id FROM containers"))
    for bundle in runtime.leftovers(containers):  # a container's is for those who know containers
        if os.path.exists(os.path.join(bundle.directory, "config.json")):
            runtime.delete(bundle)
        else:
            remove_bundle(bundle.directory)
