"""What an upload hashes to so far: kept by the process that received it; where it is not known, the bytes are read."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_ALGORITHM = "sha256"
_REMEMBERED = 1024
# So much takes longer than it takes to ask another thread; and of these there is one for each processor.
_BESIDE_BYTES = 512 << 10


class RunningHash:
    """The hash of the first ``offset_bytes`` of an upload."""

    __slots__ = ("_state", "algorithm", "offset_bytes")

    def __init__(self, algorithm: str = DEFAULT_ALGORITHM) -> None:
        self.algorithm, self.offset_bytes = algorithm, 0
        self._state = hashlib.new(algorithm)

    def update(self, pieces: Iterable[bytes | memoryview]) -> None:
        for piece in pieces:
            self._state.update(piece)
            self.offset_bytes += len(piece)

    @property
    def digest(self) -> str:
        return f"{self.algorithm}:{self._state.hexdigest()}"


class Hashes:
    """Those of the uploads that this process has received last; forgetting one costs a read and no more."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, RunningHash] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hash")

    def update(self, known: RunningHash, pieces: Sequence[bytes | memoryview], size_bytes: int) -> Future[None] | None:
        """``known`` is of these pieces, too, when the result is there, or (None: there were few bytes) now."""
        if size_bytes >= _BESIDE_BYTES:
            return self._threads.submit(known.update, pieces)
        known.update(pieces)
        return None

    def take(self, upload: str, offset_bytes: int, algorithm: str = "") -> RunningHash | None:
        """Of exactly so many bytes of the upload (by ``algorithm``, if it is given); it is the caller's from then on.

        At byte 0 there is always one.
        """
        with self._lock:
            known = self._known.pop(upload, None)
        if known is not None and known.offset_bytes == offset_bytes and algorithm in ("", known.algorithm):
            return known
        return RunningHash(algorithm or DEFAULT_ALGORITHM) if offset_bytes == 0 else None

    def keep(self, upload: str, known: RunningHash) -> None:
        with self._lock:
            self._known[upload] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
