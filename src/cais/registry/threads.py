"""Threads in which an event loop has its waiting done.

As ``concurrent.futures`` does it, handing over costs more than most of what is handed over: two futures for each, with
a condition and a lock that both sides want at the same moment.
"""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")
    _Job = tuple[asyncio.Future[Any], Callable[..., Any], tuple[object, ...]]


class Threads:
    """``count`` of them, from the beginning on. ``close`` ends them when what they were given is done."""

    def __init__(self, count: int, name: str) -> None:
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, function: Callable[..., Result], *arguments: object) -> asyncio.Future[Result]:
        """``function(*arguments)``; for the loop that runs now."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.put((future, function, arguments))
        return future

    def close(self) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            _do(*job)
            del job  # it may hold a body


def _do(future: asyncio.Future[Any], function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    result: Any = None
    error: BaseException | None = None
    try:
        result = function(*arguments)
    except BaseException as caught:
        error = caught
    try:
        future.get_loop().call_soon_threadsafe(_end, future, result, error)
    except RuntimeError:
        pass  # the loop has ended: nobody waits any more
    del error  # which would hold this frame, and the frame it


def _end(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # who waited was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
