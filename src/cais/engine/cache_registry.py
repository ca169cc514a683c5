"""A build cache in a registry: ``--cache-to type=registry``, ``--cache-from`` of such a one or of an image with one.

It is a manifest like that of an image: its config is the document of ``cais.build.cache_config``, its layers those that
the document speaks of. Only the documents are read before the plan; a layer comes when a step stands on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from cais.build.cache_config import (
    CONFIG_LIMIT_BYTES,
    INLINE_FIELD,
    MEDIA_TYPE,
    CachedLayer,
    decode_config,
    decode_inline,
    encode_config,
)
from cais.engine.cache_options import CacheSource, CacheTarget
from cais.engine.stores import Stores
from cais.errors import CaisError, Corrupt, Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import chain_ids
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform
from cais.spec.progress import Progress
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.cache_import import CacheImports
    from cais.ports import Source

_BUILDKIT = "application/vnd.buildkit.cacheconfig.v0"


class RemoteCache:
    """The blobs of a repository, as a Source that gives only what it should."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self._source = source

    def exists(self, blob: Descriptor) -> bool:
        return self._source.exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """From ``offset`` on it is not verified. Raises Corrupt at the end where all of it is not ``blob``."""
        if offset:
            yield from self._source.fetch(blob, offset)
            return
        checksum, size = hashlib.new(blob.digest.algorithm), 0
        for piece in self._source.fetch(blob):
            checksum.update(piece)
            size += len(piece)
            yield piece
        if size != blob.size_bytes or checksum.hexdigest() != blob.digest.hex:
            raise Corrupt(f"the blob {blob.digest} of the cache {self.name} is damaged")


def read_remote(
    stores: Stores, source: CacheSource, platforms: Sequence[Platform]
) -> tuple[RemoteCache, list[CachedLayer]]:
    """Raises NotFound, Denied, Unauthorized, Unavailable, Invalid (no cache), Corrupt."""
    reference = Reference.parse(source.place)
    registry = stores.registries.repository(reference, insecure=source.insecure)
    cache = RemoteCache(str(reference), registry)
    document = registry.manifest(reference.digest or reference.tag)
    target = document.descriptor
    if target.media_type not in types.INDEXES:
        return cache, _layers_of(cache, Manifest.decode(document.raw, target.media_type))
    from cais.engine.copy import read_document
    from cais.engine.pull import chosen

    index = Index.decode(document.raw, target.media_type)
    if any(item.media_type == _BUILDKIT for item in index.manifests):
        raise Invalid(f"{reference} is a cache of BuildKit, whose keys are not those of Cais")
    found: dict[Digest, list[CachedLayer]] = {}
    for platform in platforms:
        try:
            item = chosen(registry, target, platform)[-1]
        except NotFound:
            continue
        if item.digest not in found:
            manifest = Manifest.decode(read_document(registry, item), item.media_type)
            found[item.digest] = _layers_of(cache, manifest)
    if not found:
        raise NotFound(f"{reference} has no image for {', '.join(map(str, platforms))}")
    return cache, [layer for layers in found.values() for layer in layers]


def _layers_of(cache: RemoteCache, manifest: Manifest) -> list[CachedLayer]:
    if manifest.config.media_type == MEDIA_TYPE:
        if manifest.config.size_bytes > CONFIG_LIMIT_BYTES:
            raise Invalid(f"the config of the cache {cache.name} is larger than {CONFIG_LIMIT_BYTES} bytes")
        return decode_config(b"".join(cache.fetch(manifest.config)), manifest.layers)
    if manifest.config.media_type == _BUILDKIT:
        raise Invalid(f"{cache.name} is a cache of BuildKit, whose keys are not those of Cais")
    from cais.engine.build_pull import read_config

    config = read_config(cache, manifest)
    inline = config.fields.get(INLINE_FIELD)
    if inline is None:
        raise NotFound("the image has no cache in it", hint="Build it with --cache-to type=inline.")
    blobs = dict(zip(chain_ids(config.diff_ids), manifest.layers, strict=True))
    layers = decode_inline(inline, chain_ids(config.diff_ids), config.diff_ids)
    return [layer._replace(blob=blobs[layer.chain]) for layer in layers]


def send(
    stores: Stores, target: CacheTarget, layers: Sequence[CachedLayer], imports: CacheImports | None, progress: Progress
) -> None:
    """Sends what the repository lacks of ``layers``, and puts their manifest under the name that ``target`` says.

    Raises Denied, Unauthorized, Unavailable, Corrupt.
    """
    from cais.engine.arriving import Layers
    from cais.engine.copy import Graph, copy
    from cais.image.compress import Compression, compressed_chains
    from cais.image.layers import LayerSource

    reference = Reference.parse(target.place)
    if reference.digest is not None:
        raise Invalid(f"--cache-to {reference}: a cache is sent to a tag, not to a digest")
    registry = stores.registries.repository(reference, pushing=True, insecure=target.insecure)
    stores.snapshots.reach()  # before the first thread
    media_type = types.layer_media_type(target.compression)
    blobs = _sent_before(stores, target, media_type)
    present = frozenset(blob.digest for blob in blobs.values())
    sources: dict[Digest, Source] = {}
    here: dict[Digest, Digest] = {}
    for layer in layers:
        if layer.diff_id in blobs:
            continue
        if stores.snapshots.exists(layer.chain):
            here.setdefault(layer.diff_id, layer.chain)
        elif imports is not None and (found := imports.blob(layer.chain)) is not None:
            sources[found[1].digest], blobs[layer.diff_id] = found
    how = Compression(target.compression, target.level)
    packed = compressed_chains(stores.images, [*here.items()], how)
    blobs.update(zip(here, packed, strict=True))
    known = [layer._replace(blob=blobs[layer.diff_id]) for layer in layers if layer.diff_id in blobs]
    raw = encode_config(known)
    config = Descriptor(MEDIA_TYPE, Digest.of(raw), len(raw))
    manifest = Manifest.encode(config, [layer.blob for layer in known if layer.blob is not None])
    described = manifest.descriptor
    wanted = {blob.digest: blob for blob in (config, *manifest.layers)}
    copy(
        _Mixed(sources, {config.digest: raw}, LayerSource(stores.content, stores.snapshots)),
        registry,
        described,
        Layers(progress, None, unpacks=False),
        present=present,
        graph=Graph({described.digest: (described, manifest.raw)}, wanted),
        put_target=lambda item, document: registry.put_manifest(document, item.media_type, reference.tag),
    )


def _sent_before(stores: Stores, target: CacheTarget, media_type: str) -> dict[Digest, Descriptor]:
    """What the name points at now, compressed in the same way, by diff_id."""
    try:
        source = CacheSource("registry", target.place, insecure=target.insecure)
        _, layers = read_remote(stores, source, (stores.platform,))
    except CaisError:
        return {}  # nothing yet; what is wrong is said by what is sent
    return {
        layer.diff_id: layer.blob for layer in layers if layer.blob is not None and layer.blob.media_type == media_type
    }


class _Mixed:
    """A Source of blobs that are here, in other caches, and in memory."""

    def __init__(self, others: Mapping[Digest, Source], documents: Mapping[Digest, bytes], content: Source) -> None:
        self._others = others
        self._documents = documents
        self._content = content

    def exists(self, blob: Descriptor) -> bool:
        return blob.digest in self._documents or self._others.get(blob.digest, self._content).exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        document = self._documents.get(blob.digest)
        if document is not None:
            return iter((document[offset:],))
        return self._others.get(blob.digest, self._content).fetch(blob, offset)
