"""``--cache-from``: results of builds elsewhere, found by their keys, and unpacked only when something needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from cais.build.cache_config import INLINE_FIELD, CachedLayer, decode_inline
from cais.build.cache_layout import CacheDirectory, read_cache
from cais.build.records import Record, Records
from cais.engine.cache_options import CacheSource
from cais.engine.stores import Stores
from cais.errors import CaisError, Corrupt, Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import chain_ids
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.graph import Vertex
    from cais.build.plan import Result
    from cais.engine.cache_registry import RemoteCache
    from cais.image.store import Image
    from cais.spec.platform import Platform

    # Where the blobs of a cache are; what they give is verified.
    Place = CacheDirectory | RemoteCache

# A layer that unpacks to more than this is taken for a decompression bomb.
UNPACKED_LIMIT_BYTES = 256 << 30


class CacheImports:
    """What the sources of one build have. A source that cannot be read is a warning, as with BuildKit."""

    def __init__(
        self, stores: Stores, texts: Sequence[str], progress: Progress, platforms: Sequence[Platform] = ()
    ) -> None:
        """``platforms``: which images of an index may have a cache in them."""
        self._platforms = platforms or (stores.platform,)
        self._stores = stores
        self._keys: dict[str, CachedLayer] = {}
        self._chains: dict[Digest, CachedLayer] = {}
        self._places: dict[Digest, Place] = {}
        self._images: dict[Digest, Image] = {}
        self._lock = threading.RLock()
        self.lent: set[str] = set()
        for text in texts:
            source = CacheSource.parse(text)
            try:
                self._open(source)
            except CaisError as error:
                message = f"the cache {source.place} is not used: {error.message}"
                progress({"event": "warning", "message": message, "line": 0})

    def _open(self, source: CacheSource) -> None:
        if source.kind == "local":
            _, layers = read_cache(source.place, source.tag, source.digest)
            directory = CacheDirectory(source.place)
            for layer in layers:
                self._places.setdefault(layer.chain, directory)
                self._add(layer)
            return
        if not self._open_image(source):
            from cais.engine.cache_registry import read_remote

            remote, layers = read_remote(self._stores, source, self._platforms)
            for layer in layers:
                self._places.setdefault(layer.chain, remote)
                self._add(layer)

    def _open_image(self, source: CacheSource) -> bool:
        """Whether an image that is here has that name, and a cache in it."""
        try:
            image = self._stores.images.get(source.place)
        except (NotFound, Invalid):
            return False
        inline = image.config.fields.get(INLINE_FIELD)
        if inline is None:
            return False
        for layer in decode_inline(inline, chain_ids(image.config.diff_ids), image.config.diff_ids):
            self._images.setdefault(layer.chain, image)
            self._add(layer)
        return True

    def _add(self, layer: CachedLayer) -> None:
        known = self._chains.setdefault(layer.chain, layer)
        self._chains[layer.chain] = known._replace(keys=tuple(dict.fromkeys((*known.keys, *layer.keys))))
        for key in layer.keys:
            self._keys.setdefault(key, layer)

    def find(self, key: str) -> Record | None:
        """The result of ``key``; it need not be unpacked yet."""
        layer = self._keys.get(key)
        if layer is None:
            return None
        self.lent.add(key)
        return layer.record(key)

    def has(self, chain: Digest) -> bool:
        """Whether ``ensure`` can make its file system."""
        return chain in self._chains

    def keys(self, chain: Digest) -> tuple[str, ...]:
        layer = self._chains.get(chain)
        return layer.keys if layer is not None else ()

    def base(self, chain: Digest) -> Digest | None:
        """What the layers from here stand on at last; None where that is nothing, or ``chain`` is not from here."""
        item: Digest | None = chain if chain in self._chains else None
        while item is not None and (layer := self._chains.get(item)) is not None:
            item = layer.parent
        return item

    def parent(self, chain: Digest) -> Digest | None:
        return self._chains[chain].parent

    def blob(self, chain: Digest) -> tuple[Place, Descriptor] | None:
        """The place and the blob of a layer that is no image's here."""
        layer, place = self._chains.get(chain), self._places.get(chain)
        return None if layer is None or layer.blob is None or place is None else (place, layer.blob)

    def ensure(self, chain: Digest) -> None:
        """Unpacks ``chain`` and what it stands on, where it came from here and is not unpacked yet.

        Raises Corrupt, NotFound, Unavailable.
        """
        if chain not in self._chains:
            return
        with self._lock:
            waiting: list[CachedLayer] = []
            item: Digest | None = chain
            while item is not None and (layer := self._chains.get(item)) is not None:
                if self._stores.snapshots.hold(item):
                    break
                waiting.append(layer)
                item = layer.parent
            self._stores.snapshots.reach()
            for layer in reversed(waiting):
                self._unpack(layer)

    def _unpack(self, layer: CachedLayer) -> None:
        image = self._images.get(layer.chain)
        if image is not None:
            self._stores.images.ensure_unpacked(image)
            return
        found = self.blob(layer.chain)
        if found is None:
            raise NotFound(f"the layer {layer.diff_id} of the imported cache is gone")
        try:
            self._stores.snapshots.unpack(layer.parent, layer.diff_id, plain_pieces(*found))
        except Corrupt as error:
            error.hint = f"The cache {found[0].name} is damaged: build without it, and export it again."
            raise

    def settle(
        self, targets: Sequence[Result], results: Mapping[Vertex, Result], ensure: Callable[[Digest], None]
    ) -> None:
        """At a build's end: unpacks what ``targets`` still need, and keeps the records that were used and whose layers
        are here now: the next build needs no import for them."""
        from cais.build.standing import Standing

        standing = Standing(self._stores.snapshots, ensure)
        for target in targets:
            standing.know(target)
            if target.chain is not None:
                standing.ensure(target.chain)
        records = Records(self._stores.database)
        for result in results.values():
            record = result.layer
            if record is not None and record.key in self.lent and self._stores.snapshots.exists(record.chain_id):
                records.put(record)


def plain_pieces(place: Place, blob: Descriptor) -> Iterator[bytes]:
    """The plain tar of a layer's blob in a cache."""
    from cais.host.compression import decompressed

    return decompressed(place.fetch(blob), types.compression_of(blob.media_type), limit_bytes=UNPACKED_LIMIT_BYTES)
