"""Layers of a push that are sent while they are compressed."""

from __future__ import annotations

import threading

from cais.engine.arriving import Layers
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.ports import Follower
    from cais.remote.registry import Registry
    from cais.remote.streamed import Streamed

# Of a smaller one nothing is gained.
_SMALLEST_BYTES = 4 << 20


class Streams:
    """Sends layers while they are compressed, where that cannot be in vain: to a repository without a tag.

    Elsewhere a layer may be there already, which only its digest shows, and that is known when it is compressed.
    """

    def __init__(self, registry: Registry, progress: Progress) -> None:
        self._registry = registry
        self._progress = progress
        self._lock = threading.Lock()
        self._is_new: bool | None = None
        self._streams: list[Streamed] = []

    def follow(self, layer: Descriptor) -> Follower | None:
        """Whoever sends what becomes of ``layer``; None where it is too small to be worth it, or may be there."""
        if layer.size_bytes < _SMALLEST_BYTES:
            return None
        with self._lock:
            if self._is_new is None:
                self._is_new = self._registry.is_empty()
            if not self._is_new:
                return None
            stream = self._registry.follow()
            self._streams.append(stream)
        return _Following(stream, layer, self._progress)

    def sent(self) -> set[Digest]:
        """What arrived."""
        return {stream.stored for stream in self._streams if stream.stored is not None}


class _Following:
    """A stream that shows how far its layer is."""

    def __init__(self, stream: Streamed, layer: Descriptor, progress: Progress) -> None:
        self._stream = stream
        self._layers = Layers(progress, None)
        self._layer = layer

    def write(self, piece: bytes, read_bytes: int) -> None:
        self._layers.tell(self._layer.digest, "packing", read_bytes, self._layer.size_bytes)
        self._stream.write(piece)

    def finish(self, blob: Descriptor | None) -> None:
        self._stream.finish(blob)
