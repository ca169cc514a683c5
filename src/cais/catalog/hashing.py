"""What an upload hashes to so far: kept by the process that received it; where it is not known, the bytes are read."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_ALGORITHM = "sha256"
_REMEMBERED = 1024


class RunningHash:
    """The hash of the first ``offset_bytes`` of an upload."""

    __slots__ = ("_state", "algorithm", "offset_bytes")

    def __init__(self, algorithm: str = DEFAULT_ALGORITHM) -> None:
        self.algorithm, self.offset_bytes = algorithm, 0
        self._state = hashlib.new(algorithm)

    def update(self, pieces: Iterable[bytes]) -> None:
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
