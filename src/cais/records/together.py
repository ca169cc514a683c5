"""Changes of several threads in one transaction: who comes while another writes is written with all who wait by then.

A transaction of two changes costs little more than one of either, and one lock of the database instead of two.
"""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    from sqlalchemy import Connection

    Result = TypeVar("Result")

_MOST = 64


class Together:
    """``transaction`` makes one: at its end all that was done with its connection is committed, or nothing."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._transaction = transaction
        self._turn = threading.Lock()
        self._waiting: deque[_Change] = deque()

    def write(self, action: Callable[[Connection], Result]) -> Result:
        """What ``action`` returns, when it is committed; it may be called by another thread, and more than once.

        Raises what it raises, and what the transaction does.
        """
        mine = _Change(action)
        self._waiting.append(mine)
        with self._turn:
            while not mine.is_over:
                self._commit([self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))])
        if mine.error is not None:
            raise mine.error
        result: Result = mine.result
        return result

    def _commit(self, changes: Sequence[_Change]) -> None:
        under_way: _Change | None = None
        try:
            with self._transaction() as connection:
                for under_way in changes:
                    under_way.result = under_way.action(connection)
                under_way = None
        except BaseException as error:
            if under_way is not None and len(changes) > 1:
                # Its error is not the others', and may come from what they have changed, which is undone.
                for change in changes:
                    self._commit([change])
            else:
                for change in changes:
                    change.error = error
        finally:
            for change in changes:
                change.is_over = True


class _Change:
    __slots__ = ("action", "error", "is_over", "result")

    def __init__(self, action: Callable[[Connection], Any]) -> None:
        self.action = action
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = False
