"""Layers of images: unpacked when first used, and packed again when somebody needs the bytes of one built here."""

from __future__ import annotations

from cais.errors import CaisError, Corrupt, NotFound, Unsupported
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig, chain_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cais.content.store import ContentStore
    from cais.image.store import Images
    from cais.ports import Source
    from cais.snapshot.store import SnapshotStore
    from cais.spec.manifest import Manifest

# A layer that unpacks to more than this is taken for a decompression bomb.
UNPACKED_LIMIT_BYTES = 256 << 30


def present(content: ContentStore, digest: Digest, size_bytes: int) -> bool:
    """Whether the store has the blob; it is kept for this process then. Raises Corrupt when it has another size."""
    if content.size_of(digest) is None:
        return False
    content.hold((digest,))
    size = content.size_of(digest)  # again: a collector may have been faster than the hold
    if size is not None and size != size_bytes:
        raise Corrupt(f"the blob {digest} should have {size_bytes} bytes, but what has this digest has {size}")
    return size is not None


class LayerSource:
    """A ``ports.Source`` over blobs and snapshots: a layer without a blob is packed from its snapshot on demand.

    ``pack`` is deterministic, so that the plain tar of a layer that was built here has its diff_id as its digest.
    """

    def __init__(self, content: ContentStore, snapshots: SnapshotStore) -> None:
        self._content = content
        self._snapshots = snapshots

    def exists(self, blob: Descriptor) -> bool:
        return self._content.exists(blob) or self._snapshots.find(blob.digest) is not None

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Raises NotFound."""
        if self._content.exists(blob):
            return self._content.fetch(blob, offset)
        layer = self._snapshots.find(blob.digest)
        if layer is None:
            raise NotFound(f"no such blob: {blob.digest}", hint="Run: cais system check")
        return _skip(self._snapshots.pack(layer.chain_id), offset)


def _skip(pieces: Iterator[bytes], offset: int) -> Iterator[bytes]:
    for piece in pieces:
        if offset >= len(piece):
            offset -= len(piece)
            continue
        yield piece[offset:] if offset else piece
        offset = 0


def ensure_unpacked(
    content: ContentStore, snapshots: SnapshotStore, config: ImageConfig, manifest: Manifest
) -> Digest | None:
    """Makes a snapshot of every layer that has none; returns the topmost chain id (None without layers).

    Each layer streams from its blob through decompression into its snapshot, which verifies its diff_id. Raises
    Corrupt, Invalid, Unsupported (a layer that lives elsewhere), Unavailable (no space).
    """
    chains = chain_ids(config.diff_ids)
    if not chains:
        return None
    if snapshots.hold(chains[-1]):
        return chains[-1]
    parent: Digest | None = None
    for layer, diff_id, chain in zip(manifest.layers, config.diff_ids, chains, strict=True):
        if not snapshots.hold(chain):
            try:
                if not content.exists(layer) and snapshots.on_nothing([diff_id]):
                    snapshots.stand(parent, diff_id)
                    parent = chain
                    continue
                snapshots.unpack(parent, diff_id, plain_tar(LayerSource(content, snapshots), layer))
            except CaisError as error:
                error.message = f"cannot unpack the layer {layer.digest}: {error.message}"
                raise
        parent = chain
    return chains[-1]


def ensure_kept(images: Images, config: ImageConfig, manifest: Manifest) -> Digest | None:
    """As ``ensure_unpacked``, but for the files: they stay in the layers' blobs until something needs them."""
    content, snapshots = images.content, images.snapshots
    parent: Digest | None = None
    for layer, diff_id, chain in zip(manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True):
        if snapshots.hold(chain):
            parent = chain
        elif content.exists(layer):
            parent = keep_packed(images, parent, layer, diff_id)
        else:
            return ensure_unpacked(
                content, snapshots, config, manifest
            )  # made on nothing, or gone, which is said there
    return parent


def keep_packed(images: Images, parent: Digest | None, layer: Descriptor, diff_id: Digest) -> Digest:
    """The chain of a layer on ``parent`` whose files stay in its blob, which is here, until something needs them.

    A compressed one is decompressed once, to be sure of it. Raises Corrupt, Invalid (too large), NotFound.
    """
    size_bytes = content_size(images, layer, diff_id)
    chain = diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode())
    # Held, so that the collector leaves what the blob hangs on, though there is no row of it yet.
    images.content.hold((f"chain:{chain}", layer.digest))
    images.content.link(f"chain:{chain}", [layer.digest])
    return images.snapshots.keep_packed(parent, diff_id, size_bytes, layer.digest)


def content_size(images: Images, layer: Descriptor, diff_id: Digest) -> int:
    """The size in bytes of the plain tar of a layer whose blob is here; what it holds is looked at once.

    Raises Corrupt where it is broken or not ``diff_id``, Invalid where it is too large.
    """
    if layer.digest == diff_id:
        return layer.size_bytes
    known = images.records.layer_content(layer.digest)
    if known is not None and known[0] == diff_id:
        return known[1]
    size_bytes = verify_layer(LayerSource(images.content, images.snapshots), layer, diff_id)
    images.records.set_layer_content(layer.digest, diff_id, size_bytes)
    return size_bytes


def opened(content: ContentStore, blob: Digest) -> Iterator[bytes]:
    """The plain tar in a layer's blob, whatever that is compressed with. Raises NotFound; Corrupt while it goes on."""
    from cais.host.compression import decompressed

    return decompressed(content.fetch(Descriptor("", blob, 0)), limit_bytes=UNPACKED_LIMIT_BYTES)


def plain_tar(source: Source, layer: Descriptor) -> Iterator[bytes]:
    """A layer's bytes, decompressed as its media type says. Raises NotFound, Unsupported, Corrupt while it goes on."""
    if not source.exists(layer) and (layer.extra or {}).get("urls"):
        raise Unsupported(f"the layer {layer.digest} is not distributed with its image ({layer.media_type})")
    compression = types.compression_of(layer.media_type)
    pieces = source.fetch(layer)
    if compression == "none":
        return pieces
    from cais.host.compression import decompressed

    return decompressed(pieces, compression, limit_bytes=UNPACKED_LIMIT_BYTES)


def verify_layer(source: LayerSource, layer: Descriptor, diff_id: Digest) -> int:
    """Decompresses a layer to nowhere; returns the size of its plain tar in bytes.

    Raises Corrupt when it is broken or is not ``diff_id``, Invalid when it is too large.
    """
    import hashlib

    checksum = hashlib.new(diff_id.algorithm)
    size_bytes = 0
    try:
        for piece in plain_tar(source, layer):
            checksum.update(piece)
            size_bytes += len(piece)
    except CaisError as error:
        error.message = f"cannot unpack the layer {layer.digest}: {error.message}"
        raise
    if checksum.hexdigest() != diff_id.hex:
        raise Corrupt(
            f"the image config says that a layer is {diff_id}, but the layer {layer.digest} unpacks to "
            f"{diff_id.algorithm}:{checksum.hexdigest()}"
        )
    return size_bytes


def unpacked_size(images: Images, layers: Sequence[Descriptor], diff_ids: Sequence[Digest]) -> tuple[int, bool]:
    """What the layers take unpacked, in bytes of plain tar, and whether that is exact.

    Known for plain tars, for layers with a snapshot, and for those that were verified when they were loaded. A gzip
    blob ends with the size of what is in it modulo 4 GiB (RFC 1952); that is believed for showing only. Others count as
    they are until they are unpacked.
    """
    total, exact = 0, True
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        if layer.digest == diff_id:
            total += layer.size_bytes
        elif (content := images.records.layer_content(layer.digest)) is not None:
            total += content[1]
        elif (found := images.snapshots.find(diff_id)) is not None:
            total += found.size_bytes
        else:
            total += _estimate(images.content, layer)
            exact = False
    return total, exact


def _estimate(content: ContentStore, layer: Descriptor) -> int:
    if layer.size_bytes >= 18 and types.compression_of(layer.media_type) == "gzip" and content.exists(layer):
        trailer = b"".join(content.fetch(layer, layer.size_bytes - 4))
        size = int.from_bytes(trailer, "little")
        # Deflate cannot shrink by more than 1032; a multi-member file's last member may be tiny.
        if layer.size_bytes <= size <= layer.size_bytes * 1032:
            return size
    return layer.size_bytes


def found_compression(content: ContentStore, blob: Digest) -> str:
    """How a blob's bytes are compressed, by their first ones: ``none``, ``gzip``, ``zstd``, ``bzip2``, ``xz``."""
    from cais.host.compression import detect

    with open(content.path(blob), "rb") as file:
        return detect(file.read(8))


def check_layer(content: ContentStore, layer: Descriptor, diff_id: Digest) -> None:
    """A layer's blob is there: raises Corrupt when it is not the plain tar, or not compressed, as it should be."""
    said = types.compression_of(layer.media_type)
    if layer.digest == diff_id:
        found = "none"
    elif said == "none" and diff_id.algorithm == layer.digest.algorithm:
        found = found_compression(content, layer.digest)
        if found == "none":
            raise Corrupt(f"the image config says that a layer is {diff_id}, but the layer is {layer.digest}")
    else:
        found = found_compression(content, layer.digest)
    if found != said:
        raise Corrupt(
            f"the layer {layer.digest} is {_PHRASE[found]}, but its media type {layer.media_type!r} says "
            f"{_PHRASE[said]}"
        )


_PHRASE = {
    "none": "a plain tar",
    "gzip": "gzip-compressed",
    "zstd": "zstd-compressed",
    "bzip2": "bzip2-compressed",
    "xz": "xz-compressed",
}
