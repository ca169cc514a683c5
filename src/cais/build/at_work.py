"""Steps that are at work, by their keys: what two stages, or two builds of one process, want is made once."""

from __future__ import annotations

import threading

from cais.errors import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.build.plan import Result

# A signal that comes just before a thread begins to wait does not wake it.
_WAIT_SECONDS = 0.5


class AtWork:
    """Shared by the solvers of builds that go on at once, whose results one lease holds. Threads may share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._keys: set[str] = set()
        self._made: dict[str, Result] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._stoppers: list[Callable[[BaseException], None]] = []
        self._stopped: BaseException | None = None

    def begin(self, key: str, is_stopped: Callable[[], bool]) -> Result | None:
        """The result of another step with this key, waited for where it is at work; None: it is for the caller to do,
        who says ``end`` then. Raises Cancelled where the caller's build has failed meanwhile."""
        with self._changed:
            while key in self._keys and not is_stopped():
                self._changed.wait(_WAIT_SECONDS)
            if is_stopped():
                raise Cancelled("stopped, as another step failed")
            if key not in self._made:
                self._keys.add(key)
                return None
            return self._made[key]

    def end(self, key: str, result: Result | None) -> None:
        """None: it failed, and whoever waits for it is to try."""
        with self._changed:
            self._keys.discard(key)
            if result is not None:
                self._made[key] = result
            self._changed.notify_all()

    def lock(self, key: str) -> threading.Lock:
        """One for all who say the same ``key``: what one of them has made the next one finds."""
        with self._changed:
            return self._locks.setdefault(key, threading.Lock())

    def wake(self) -> None:
        """A build has failed: its steps that wait for others' do not go on."""
        with self._changed:
            self._changed.notify_all()

    def on_stop(self, stopper: Callable[[BaseException], None]) -> None:
        """``stopper`` is called when all builds are to end; at once, where that was said before."""
        with self._changed:
            self._stoppers.append(stopper)
            stopped = self._stopped
        if stopped is not None:
            stopper(stopped)

    def stop(self, why: BaseException) -> None:
        """Ends all builds that share it, those that have not begun to solve, too."""
        with self._changed:
            self._stopped = self._stopped or why
            stoppers = list(self._stoppers)
        for stopper in stoppers:
            stopper(why)

    def check(self) -> None:
        """Raises why all builds were to end, where they were."""
        if self._stopped is not None:
            raise self._stopped
