"""``--cache-from``: results of builds elsewhere, found by their keys; their layers come when something stands on them.

What comes is verified and kept as it is, packed: its files are unpacked when something reads them. A layer that cannot
be had is withdrawn, with a warning, and its step is built.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cais.build.cache_config import INLINE_FIELD, CachedLayer, decode_inline
from cais.build.cache_layout import CacheDirectory, read_cache
from cais.build.records import Record, Records
from cais.engine.cache_options import CacheSource
from cais.engine.stores import Stores
from cais.errors import CaisError, Corrupt, Invalid, NotFound
from cais.host.workers import for_each
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
        self,
        stores: Stores,
        texts: Sequence[str],
        progress: Progress,
        platforms: Sequence[Platform] = (),
        keep_base: Callable[[Digest], None] = lambda chain: None,
    ) -> None:
        """``platforms``: which images of an index may have a cache in them. ``keep_base`` makes the snapshots of a base
        image be there."""
        self._progress = progress
        self._keep_base = keep_base
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

    def keys(self, chain: Digest) -> tuple[str, ...]:
        layer = self._chains.get(chain)
        return layer.keys if layer is not None else ()

    def parent(self, chain: Digest) -> Digest | None:
        return self._chains[chain].parent

    def blob(self, chain: Digest) -> tuple[Place, Descriptor] | None:
        """The place and the blob of a layer that is no image's here."""
        layer, place = self._chains.get(chain), self._places.get(chain)
        return None if layer is None or layer.blob is None or place is None else (place, layer.blob)

    def bring(self, results: Iterable[Result]) -> bool:
        """Makes what is from here of ``results``, and what that stands on, be here; False where some of it cannot be
        had, and is not found here any more."""
        whole = True
        for result in results:
            item: Result | None = result
            while item is not None:
                # What is laid upon something was made on nothing; it stands there when something needs it.
                chain = item.chain if item.below is None or item.layer is None else item.layer.chain_id
                whole = (chain not in self._chains or self.hold(chain)) and whole
                item = item.below
        return whole

    def hold(self, chain: Digest) -> bool:
        """Whether ``chain`` is from here, and is here now; where it cannot be had, a warning says so."""
        if chain not in self._chains:
            return False
        try:
            self.ensure(chain)
        except CaisError as error:
            self._progress({"event": "warning", "message": f"a cached step is not used: {error.message}", "line": 0})
            return False
        return True

    def ensure(self, chain: Digest) -> None:
        """Makes ``chain`` and what it stands on be here, where it is from here. Raises Corrupt, NotFound, Unavailable;
        what failed is not found here any more."""
        if chain not in self._chains:
            return
        with self._lock:
            waiting: list[CachedLayer] = []
            item: Digest | None = chain
            while item is not None and not self._stores.snapshots.hold(item) and item in self._chains:
                waiting.append(self._chains[item])
                item = waiting[-1].parent
            if not waiting:
                return
            self._stores.snapshots.reach()  # before the first thread
            try:
                if item is not None:
                    self._keep_base(item)
                for_each(waiting, self._fetch)
                while waiting:
                    self._keep(waiting[-1])
                    waiting.pop()
            except CaisError:
                self._withdraw(waiting[-1])
                raise

    def _fetch(self, layer: CachedLayer) -> None:
        """What fails here fails again, and is said, when the layer's turn comes."""
        try:
            self._receive(layer)
        except CaisError:
            pass

    def _keep(self, layer: CachedLayer) -> None:
        image = self._images.get(layer.chain)
        if image is not None:
            self._stores.images.ensure_kept(image)
            return
        from cais.image.layers import keep_packed

        keep_packed(self._stores.images, layer.parent, self._receive(layer), layer.diff_id)

    def _receive(self, layer: CachedLayer) -> Descriptor:
        """The blob of a layer that is no image's here, which is here and was looked into."""
        from cais.image.layers import content_size, present

        found = self.blob(layer.chain)
        if found is None:
            raise NotFound(f"the layer {layer.diff_id} of the imported cache is gone")
        place, blob = found
        content = self._stores.content
        if not present(content, blob.digest, blob.size_bytes):
            content.push(blob, place.fetch(blob))
        size_bytes = content_size(self._stores.images, blob, layer.diff_id)
        if size_bytes != layer.size_bytes:
            raise Corrupt(
                f"the layer {layer.diff_id} of the cache {place.name} has {size_bytes} bytes, not those it says"
            )
        return blob

    def _withdraw(self, layer: CachedLayer) -> None:
        self._chains.pop(layer.chain, None)
        self._keys = {key: known for key, known in self._keys.items() if known.chain != layer.chain}

    def settle(self, results: Mapping[Vertex, Result]) -> None:
        """At a build's end: keeps the records that were used and whose layers are here now: the next build needs no
        import for them."""
        records = Records(self._stores.database)
        for result in results.values():
            record = result.layer
            if record is not None and record.key in self.lent and self._stores.snapshots.exists(record.chain_id):
                records.put(record)


def plain_pieces(place: Place, blob: Descriptor) -> Iterator[bytes]:
    """The plain tar of a layer's blob in a cache."""
    from cais.host.compression import decompressed

    return decompressed(place.fetch(blob), types.compression_of(blob.media_type), limit_bytes=UNPACKED_LIMIT_BYTES)
