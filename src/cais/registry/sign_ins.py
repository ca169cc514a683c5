"""Where passwords are hashed: in a few threads of their own, before which few may wait.

A hash takes its time. Whoever sends guesses by the thousand keeps only others waiting who sign in just then; requests
with tokens go on, and so does the rest of the registry.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from cais.catalog.attempts import TooManyAttempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

_THREADS = 2
_WAITING_LIMIT = 100
_RETRY_SECONDS = 2


class SignIns:
    """One for a process; used by its event loop alone."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sign-in")
        self._waiting = 0

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Raises TooManyAttempts, and what the function raises."""
        if self._waiting >= _WAITING_LIMIT:
            raise TooManyAttempts(_RETRY_SECONDS)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._waiting -= 1
