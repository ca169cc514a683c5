"""The same work on several things, some at a time."""

from __future__ import annotations

import os

from cais.host.threads import Thread, end_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    Item = TypeVar("Item")

_MOST = 4


def for_each(items: Iterable[Item], action: Callable[[Item], None], most: int = 0) -> None:
    """Does ``action`` to each of ``items``, ``most`` at a time (0: one for each processor, up to four).

    The first that fails, or an interrupt, stops the others; what it raised is raised when they have ended.
    """
    waiting = list(items)[::-1]
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                item = waiting.pop()
            except IndexError:
                return
            try:
                action(item)
            except BaseException as error:
                errors.append(error)
                for thread in threads:
                    thread.stop()

    count = min(most or min(_MOST, os.cpu_count() or 1), len(waiting))
    threads = [Thread(target=work, daemon=True) for _ in range(count - 1)]
    try:
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
    except BaseException as error:
        errors.append(error)
        end_all(threads)
    if errors:
        raise errors[0]
