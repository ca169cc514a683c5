"""Layers of a push that are sent while they are compressed.

Who compresses waits for nobody: what is written to a layer's file is read from there as fast as the registry takes it,
and the connection is made meanwhile. Whatever fails is no error: the blob is pushed afterwards, as others are.
"""

from __future__ import annotations

import os
import threading

from cais.engine.arriving import Layers
from cais.errors import CaisError, Cancelled
from cais.host.threads import Thread
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cais.ports import Follower
    from cais.remote.registry import Registry
    from cais.remote.streamed import Streamed

# Of a smaller one nothing is gained.
_SMALLEST_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20


class Streams:
    """Sends layers while they are compressed, where that cannot be in vain: to a repository without a tag.

    Elsewhere a layer may be there already, which only its digest shows, and that is known when it is compressed.
    ``registry`` gives the repository, and may take its time; what it raises is raised by whoever asks it next.
    """

    def __init__(self, registry: Callable[[], Registry], progress: Progress) -> None:
        self._registry = registry
        self._progress = progress
        self._lock = threading.Lock()
        self._is_new: bool | None = None
        self._streams: list[_Stream] = []

    def follow(self, layer: Descriptor, path: str) -> Follower | None:
        """Whoever sends what ``layer`` becomes in the file at ``path``; None where it is too small to be worth it."""
        if layer.size_bytes < _SMALLEST_BYTES:
            return None
        stream = _Stream(self._upload, layer, path, self._progress)
        with self._lock:
            self._streams.append(stream)
        return stream

    def sent(self) -> set[Digest]:
        """What arrived."""
        return {stream.stored for stream in self._streams if stream.stored is not None}

    @property
    def is_to_nothing(self) -> bool:
        """Whether the repository was seen to have nothing; False also where nobody has looked."""
        return self._is_new is True

    def _upload(self) -> Streamed | None:
        """None where the layer may be there."""
        registry = self._registry()
        with self._lock:
            if self._is_new is None:
                self._is_new = registry.is_empty()
            return registry.streamed() if self._is_new else None


class _Stream:
    """One layer on its way, read from its file in a thread. ``stored`` is what the registry has of it at the end."""

    def __init__(self, upload: Callable[[], Streamed | None], layer: Descriptor, path: str, progress: Progress) -> None:
        self.stored: Digest | None = None
        self._begin = upload
        self._sent: Streamed | None = None
        self._layers = Layers(progress, None)
        self._layer = layer
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._changed = threading.Condition()
        self._written_bytes = 0
        self._is_whole = self._is_given_up = False
        self._thread = Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def written(self, size_bytes: int, read_bytes: int) -> None:
        self._layers.tell(self._layer.digest, "packing", read_bytes, self._layer.size_bytes)
        with self._changed:
            self._written_bytes = size_bytes
            self._changed.notify()

    def finish(self, blob: Descriptor | None) -> None:
        with self._changed:
            self._is_whole, self._is_given_up = blob is not None, blob is None
            self._changed.notify()
        if blob is None:
            self._thread.stop()  # it ends by itself, and keeps nobody
            return
        self._thread.join()
        if self._sent is None:
            return
        try:
            self._sent.end(blob)
        except CaisError:
            return
        self.stored = blob.digest

    def _run(self) -> None:
        try:
            upload = self._begin()
            if upload is not None:
                upload.send(self._pieces())
                self._sent = upload
        except CaisError:
            pass
        finally:
            os.close(self._file)

    def _pieces(self) -> Iterator[bytes]:
        position = 0
        while True:
            with self._changed:
                while position == self._written_bytes and not (self._is_whole or self._is_given_up):
                    self._changed.wait()
                if self._is_given_up:
                    raise Cancelled("stopped")
                end = self._written_bytes
            if position == end:
                return
            while position < end:
                piece = os.pread(self._file, min(_PIECE_BYTES, end - position), position)
                position += len(piece)
                yield piece
