"""Work in a thread beside this one, without what the threading module costs to load."""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def beside(action: Callable[[], T]) -> Callable[[], T]:
    """Starts ``action`` in a thread of its own; what is returned waits for it, and returns or raises what it did."""
    results: list[T] = []
    errors: list[BaseException] = []
    running = allocate_lock()
    running.acquire()

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)
        finally:
            running.release()

    def result() -> T:
        with running:
            if errors:
                raise errors[0]
            return results[0]

    start_new_thread(run, ())
    return result
