"""Uploads that are begun before anybody asks for them.

Who pushes images begins many uploads, one soon after the other. So where they come quickly some more are begun in the
same transaction, for whoever asks next: what one replica gives out the others know already. Those that nobody has
asked for soon are forgotten again.
"""

from __future__ import annotations

import threading
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST = 16
_QUICKLY_SECONDS = 0.1
_KEPT_SECONDS = 2.0


class Beforehand:
    """Those of one process. Nothing here waits, and it may be called from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._repositories: dict[str, _Begun] = {}

    def take(self, repository: str) -> str | None:
        """An upload that nobody else gets."""
        with self._lock:
            begun = self._repositories.get(repository)
            if begun is None or not begun.uploads:
                return None
            begun.asked = self._clock()
            return begun.uploads.popleft()

    def wanted(self, repository: str) -> int:
        """None was there, and one is begun now: how many more should be. ``made`` has to follow."""
        now = self._clock()
        with self._lock:
            begun = self._repositories.setdefault(repository, _Begun(now))
            is_quick = 0 < now - begun.asked < _QUICKLY_SECONDS
            begun.enough = min(_MOST, 2 * begun.enough + 1) if is_quick else 0
            begun.asked = now
            more = max(0, begun.enough - begun.coming - len(begun.uploads))
            begun.coming += more
            return more

    def made(self, repository: str, wanted: int, uploads: Sequence[str]) -> None:
        """So many were ``wanted``; these have been begun."""
        if not wanted:
            return
        with self._lock:
            begun = self._repositories[repository]
            begun.coming -= wanted
            begun.uploads.extend(uploads)

    def __bool__(self) -> bool:
        """Whether ``left`` may have something to tell, now or soon."""
        return bool(self._repositories)

    def left(self, *, all: bool = False) -> list[str]:
        """Those that nobody has asked for: they are nobody's from now on."""
        now = self._clock()
        left: list[str] = []
        with self._lock:
            for repository, begun in list(self._repositories.items()):
                if not begun.coming and (all or now - begun.asked > _KEPT_SECONDS):
                    left += begun.uploads
                    del self._repositories[repository]
        return left


class _Begun:
    """``coming`` are on their way into the database; ``asked`` is when somebody last wanted one."""

    __slots__ = ("asked", "coming", "enough", "uploads")

    def __init__(self, now: float) -> None:
        self.asked, self.coming, self.enough = now, 0, 0
        self.uploads: deque[str] = deque()
