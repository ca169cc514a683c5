"""Importing: a bare tar of a root file system becomes an image of one layer.

The tar is kept as it came (decompressed): its digest is the layer's diff_id, so it is hashed and written once. It is
unpacked when first used, like any other layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cais.errors import Invalid
from cais.image.assemble import NewLayer, assemble, store
from cais.image.layers import UNPACKED_LIMIT_BYTES
from cais.spec.digest import Digest
from cais.spec.platform import Platform
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.image.store import Images


def import_tar(
    images: Images,
    pieces: Iterator[bytes],
    *,
    run: Mapping[str, Any],
    message: str,
    created: str,
    platform: Platform,
    names: Sequence[Reference] = (),
) -> Digest:
    """``pieces`` may be compressed. Returns the image's id. Raises Invalid and Corrupt for what is no tar."""
    layer = _keep(images, pieces)
    history = [{"created": created, "comment": message}]
    assembled = assemble(None, [layer], run, history, created=created, platform=platform)
    return images.register(store(images.content, assembled), names).id


def _keep(images: Images, pieces: Iterator[bytes]) -> NewLayer:
    """The plain tar as a blob, after its members were walked through from its first to its last."""
    from cais.host.compression import decompressed
    from cais.host.tar_reader import TarReader

    with images.content.ingest() as ingest:

        def written() -> Iterator[bytes]:
            for piece in decompressed(pieces, limit_bytes=UNPACKED_LIMIT_BYTES):
                ingest.write(piece)
                yield piece

        stream = written()
        for _ in TarReader(stream):
            pass
        for _ in stream:
            pass  # what stands behind the end of the archive belongs to the bytes that are hashed
        if not ingest.size_bytes:
            raise Invalid("the archive is empty: an image is imported from a tar of a root file system")
        return NewLayer(ingest.commit(), ingest.size_bytes)
