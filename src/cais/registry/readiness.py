"""Readiness: which parts of the registry can be used now."""

from __future__ import annotations

import asyncio
import time

from cais.errors import CaisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GOOD_SECONDS = 1.0  # whoever asks often does not ask the parts
_TIMEOUT_SECONDS = 5.0


class Readiness:
    """``parts`` by their names: each is called in a thread, and raises where the part cannot be used. Why is said to
    ``tell``, and to nobody who asks: that may be anybody."""

    def __init__(
        self, parts: Mapping[str, Callable[[], None]], tell: Callable[[str], None], *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:  # fmt: skip
        self._parts = [_Part(name, asks, tell, timeout_seconds) for name, asks in parts.items()]

    def look(self) -> None:
        """Has told what cannot be used when it returns."""
        for part in self._parts:
            part.ask()

    async def failing(self) -> list[str]:
        """The names of those that cannot be used, or do not say so in time."""
        works = await asyncio.gather(*(part.works() for part in self._parts))
        return [part.name for part, does in zip(self._parts, works, strict=True) if not does]


class _Part:
    def __init__(
        self, name: str, asks: Callable[[], None], tell: Callable[[str], None], timeout_seconds: float
    ) -> None:
        self.name, self._asks, self._tell, self._timeout_seconds = name, asks, tell, timeout_seconds
        self._known, self._known_until = False, 0.0
        self._asking: asyncio.Task[bool] | None = None

    async def works(self) -> bool:
        """Asked once for all that wait, and by one thread, however long it takes."""
        if time.monotonic() < self._known_until:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(asyncio.to_thread(self.ask))
            self._asking.add_done_callback(self._asked)
        try:
            return await asyncio.wait_for(asyncio.shield(self._asking), self._timeout_seconds)
        except TimeoutError:
            return False

    def ask(self) -> bool:
        try:
            self._asks()
        except CaisError as error:
            self._tell(f"not ready: {self.name}: {error.message} {error.hint}".rstrip())
            return False
        return True

    def _asked(self, task: asyncio.Task[bool]) -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is None:
            self._known, self._known_until = task.result(), time.monotonic() + _GOOD_SECONDS
