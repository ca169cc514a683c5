"""Layers compressed for whoever takes an image: in threads, as streams, and once.

The compressed layer is a blob like one that was pulled; it stays as long as the layer that it is of, so that the next
output finds it.
"""

from __future__ import annotations

import os
import threading

from cais.errors import Corrupt
from cais.host.heaps import keep_pieces
from cais.host.threads import Thread, check_stopped, end_all
from cais.image.layers import LayerSource, plain_tar
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import chain_ids
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cais.image.assemble import Assembled
    from cais.image.store import Images
    from cais.ports import Follower

    # Whoever wants to follow while a layer is compressed into the file at a path.
    Follow = Callable[[Descriptor, str], Follower | None]

# One would leave the others waiting for its last bytes; for more there are neither processors nor memory, since each is
# compressed by several threads.
_AT_ONCE = 2
DEFAULT_LEVELS = {"gzip": 1, "zstd": 3, "none": 0}


class Compression(NamedTuple):
    """``kind`` is ``gzip``, ``zstd`` or ``none``. ``force``: also of layers that came compressed in another way."""

    kind: str
    level: int | None = None
    force: bool = False

    @property
    def exact_level(self) -> int:
        return DEFAULT_LEVELS[self.kind] if self.level is None else self.level


def compressed_layers(
    images: Images,
    assembled: Assembled,
    how: Compression,
    keeps: Callable[[Descriptor], bool] | None = None,
    follow: Follow | None = None,
) -> list[Descriptor]:
    """The layers of an image, those compressed that have no blob of their own yet (all of another kind: ``force``).

    ``keeps`` decides instead which of those that are compressed in another way, or not at all, stay as they are.
    ``follow`` is asked, for each that has to be compressed, who follows.

    Raises Corrupt where a layer is not what the config says, Unavailable (no space).
    """
    config, manifest = assembled.config, assembled.manifest
    found: list[Descriptor] = list(manifest.layers)
    todo: list[tuple[int, Digest, Digest]] = []
    for number, (layer, diff_id, chain) in enumerate(
        zip(manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True)
    ):
        if _is_kept(images, layer, how, keeps):
            continue
        known = _known(images, diff_id, how)
        if known is not None:
            found[number] = known
        else:
            todo.append((number, diff_id, chain))
    _Work(images, found, todo, how, follow).run()
    return found


def compressed_chains(images: Images, chains: Sequence[tuple[Digest, Digest]], how: Compression) -> list[Descriptor]:
    """Layers that live as snapshots, each by its diff_id and chain id, as blobs. Raises as ``compressed_layers``."""
    media_type = types.layer_media_type("none")
    found = [_known(images, diff_id, how) for diff_id, _ in chains]
    plain = [
        known or Descriptor(media_type, diff_id, images.snapshots.layer(chain).size_bytes)
        for known, (diff_id, chain) in zip(found, chains, strict=True)
    ]
    todo = [(number, *chain) for number, chain in enumerate(chains) if found[number] is None]
    _Work(images, plain, todo, how).run()
    return plain


def _is_kept(images: Images, layer: Descriptor, how: Compression, keeps: Callable[[Descriptor], bool] | None) -> bool:
    if (layer.extra or {}).get("urls"):
        return True  # lives elsewhere
    if types.compression_of(layer.media_type) == how.kind:
        return True
    if keeps is not None:
        return keeps(layer)
    return not how.force and images.content.exists(layer)


def _known(images: Images, diff_id: Digest, how: Compression) -> Descriptor | None:
    media_type = types.layer_media_type(how.kind)
    if how.kind == "none":
        layer = images.snapshots.find(diff_id)
        return Descriptor(media_type, diff_id, layer.size_bytes) if layer is not None else None
    row = images.records.compressed_layer(diff_id, how.kind, how.exact_level)
    if row is None:
        return None
    blob = Descriptor(media_type, *row)
    images.content.hold((blob.digest,))
    return blob if images.content.exists(blob) else None  # it may have been collected a moment ago


class _Work:
    """Two layers at a time, where there are two processors."""

    def __init__(
        self,
        images: Images,
        found: list[Descriptor],
        todo: list[tuple[int, Digest, Digest]],
        how: Compression,
        follow: Follow | None = None,
    ) -> None:
        self._follow = follow
        self._images = images
        self._found = found
        self._todo = list(reversed(todo))
        self._how = how
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._todo:
            return
        keep_pieces()
        count = min(len(self._todo), len(os.sched_getaffinity(0)), _AT_ONCE)
        if count <= 1:
            self._take()
        else:
            threads = [Thread(target=self._take, daemon=True) for _ in range(count)]
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except BaseException as error:
                self._error = error
                end_all(threads)
        if self._error is not None:
            raise self._error

    def _take(self) -> None:
        while True:
            with self._lock:
                if not self._todo or self._error is not None:
                    return
                number, diff_id, chain = self._todo.pop()
            try:
                self._found[number] = self._compress(self._found[number], diff_id, chain)
            except BaseException as error:
                with self._lock:
                    self._error = self._error or error
                return

    def _compress(self, layer: Descriptor, diff_id: Digest, chain: Digest) -> Descriptor:
        from cais.host.compression import compressed

        images, how = self._images, self._how
        follower: Follower | None = None
        made: Descriptor | None = None
        plain = _Plain(images, layer, diff_id)
        try:
            with images.content.ingest() as ingest:
                follower = self._follow(layer, ingest.path) if self._follow is not None else None
                for piece in compressed(plain.pieces(), how.kind, how.level):
                    check_stopped()
                    ingest.write(piece)
                    if follower is not None:
                        follower.written(ingest.size_bytes, plain.size_bytes)
                plain.check()
                made = Descriptor(types.layer_media_type(how.kind), ingest.commit(), ingest.size_bytes)
        finally:
            plain.close()
            if follower is not None:
                follower.finish(made)
        images.content.link(f"chain:{chain}", [made.digest])
        images.records.set_compressed_layer(
            diff_id, how.kind, how.exact_level, made.digest, made.size_bytes, plain.size_bytes
        )
        return made


class _Plain:
    """The plain tar of a layer, read once. ``size_bytes`` counts what was read so far.

    A blob was verified when it came, and is known by its file's time; what is packed from files, or unpacked, is hashed
    on its way.
    """

    def __init__(self, images: Images, layer: Descriptor, diff_id: Digest) -> None:
        from cais.host.ahead import HashBeside

        self.size_bytes = 0
        self._diff_id = diff_id
        self._source = plain_tar(LayerSource(images.content, images.snapshots), layer)
        is_known = layer.digest == diff_id and images.content.is_sound(diff_id)
        self._hashed = None if is_known else HashBeside(diff_id.algorithm)

    def pieces(self) -> Iterator[bytes]:
        for piece in self._source:
            self.size_bytes += len(piece)
            if self._hashed is not None:
                self._hashed.update(piece)
            yield piece

    def check(self) -> None:
        """Raises Corrupt where what was read is not the layer."""
        if self._hashed is not None and (found := self._hashed.digest()) != self._diff_id:
            raise Corrupt(
                f"the layer {self._diff_id} has the content of {found}: it was changed on disk",
                hint="Run: cais system check",
            )

    def close(self) -> None:
        if self._hashed is not None:
            self._hashed.close()
