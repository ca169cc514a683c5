"""``--cache-to``: the results of a build for builds elsewhere, in a directory or in the image itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cais.build.cache_config import CachedLayer
from cais.build.cache_layout import CacheWriter, is_whole, read_cache
from cais.build.records import Records
from cais.engine.build_run import Built
from cais.engine.cache_import import CacheImports, plain_pieces
from cais.engine.cache_options import CacheTarget
from cais.engine.stores import Stores
from cais.errors import CaisError
from cais.host.workers import for_each
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.records import Record
    from cais.engine.build_steps import Step


def export(
    stores: Stores,
    target: CacheTarget,
    built: Sequence[Built],
    imports: CacheImports | None,
    progress: Progress,
    step: Callable[[str], Step],
) -> None:
    """Writes only what the directory, or the registry, does not have. Raises Unavailable, Denied, ...; with
    ``ignore_error`` warns instead. ``step`` shows what is sent."""
    try:
        if target.kind == "registry":
            from cais.engine.cache_registry import send

            layers = cached_layers(stores, built, imports, all=target.all)
            with step(f"[internal] exporting cache to {target.place}") as shown:
                send(stores, target, layers, imports, shown)
        else:
            _export(stores, target, built, imports)
    except CaisError as error:
        if not target.ignore_error:
            error.message = f"failed to export the cache: {error.message}"
            raise
        progress({"event": "warning", "message": f"the cache was not exported: {error.message}", "line": 0})


def cached_layers(
    stores: Stores, built: Sequence[Built], imports: CacheImports | None, *, all: bool
) -> list[CachedLayer]:
    """The results of the steps, each once: of ``all`` vertices, or only of the images' own layers."""
    records = Records(stores.database)
    found: dict[Digest, CachedLayer] = {}
    for item in built:
        for vertex in item.results if all else item.lowered.layers:
            result = item.results[vertex]
            record = result.layer
            if record is None:
                continue
            if record.chain_id not in found:
                found[record.chain_id] = _cached(stores, records, record, imports)
            if result.below is not None and result.chain is not None:
                # What was made on nothing, where it stands: no key has it, and others stand on it.
                merged = found[record.chain_id]._replace(keys=(), parent=result.below.chain)
                found.setdefault(result.chain, merged)
    return list(found.values())


def _cached(stores: Stores, records: Records, record: Record, imports: CacheImports | None) -> CachedLayer:
    keys = {record.key, *(known.key for known in records.of_chain(record.chain_id))}
    if imports is not None:
        keys.update(imports.keys(record.chain_id))
    if stores.snapshots.exists(record.chain_id) or imports is None:
        parent = stores.snapshots.layer(record.chain_id).parent
    else:
        parent = imports.parent(record.chain_id)
    return CachedLayer(tuple(sorted(keys)), parent, record.diff_id, record.size_bytes, record.newest)


def _export(stores: Stores, target: CacheTarget, built: Sequence[Built], imports: CacheImports | None) -> None:
    stores.snapshots.reach()  # before the first thread
    layers = cached_layers(stores, built, imports, all=target.all)
    media_type = types.layer_media_type(target.compression)
    with CacheWriter(target.place) as writer:
        known = _known(target.place, target.tag, media_type)
        chains: dict[Digest, Digest] = {}
        for layer in layers:
            # Of those with a key there is a snapshot, or the blob of another cache.
            if layer.keys:
                chains.setdefault(layer.diff_id, layer.chain)
        blobs: dict[Digest, Descriptor] = {}

        def write(item: tuple[Digest, Digest]) -> None:
            diff_id, chain = item
            found = known.get(diff_id)
            # What is there is read: a damaged blob would be kept for ever.
            if found is None or not is_whole(target.place, found):
                found = writer.add(_pieces(stores, chain, imports, target), media_type)
            blobs[diff_id] = found

        for_each(chains.items(), write)
        writer.finish([layer._replace(blob=blobs[layer.diff_id]) for layer in layers], target.tag)


def _known(directory: str, tag: str, media_type: str) -> dict[Digest, Descriptor]:
    """What the directory has already, compressed in the same way, by diff_id."""
    try:
        _, layers = read_cache(directory, tag)
    except CaisError:
        return {}  # it is written anew
    return {
        layer.diff_id: layer.blob for layer in layers if layer.blob is not None and layer.blob.media_type == media_type
    }


def _pieces(stores: Stores, chain: Digest, imports: CacheImports | None, target: CacheTarget) -> Iterator[bytes]:
    """The layer as it shall be stored: as it came from another cache, or packed."""
    from cais.host.compression import compressed
    from cais.image.layers import found_compression

    blob = stores.snapshots.packed(chain)
    if blob is not None and found_compression(stores.content, blob) == target.compression:
        return stores.content.fetch(Descriptor("", blob, 0))
    if stores.snapshots.exists(chain) or imports is None or (found := imports.blob(chain)) is None:
        return compressed(stores.snapshots.pack(chain), target.compression, target.level)
    if types.compression_of(found[1].media_type) == target.compression:
        return found[0].fetch(found[1])
    return compressed(plain_pieces(*found), target.compression, target.level)
