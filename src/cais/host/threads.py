"""Threads that can be waited for again after Ctrl-C, and told to stop.

Only the main thread hears of signals. What it has started for a command that is to end it tells: who waits in such a
thread for a network (``host.sockets``), or in ``sleep``, raises Cancelled within a moment.
"""

from __future__ import annotations

import threading
import time

from cais.errors import Cancelled

# How long a thread may not notice that it is to stop.
SLICE_SECONDS = 0.25


class Thread(threading.Thread):
    """As ``threading.Thread``, but who is interrupted while he waits in ``join`` may call it again.

    Python's own takes a thread for ended then, though it goes on (CPython issue 89437, until 3.13).
    """

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._over.set()

    def start(self) -> None:
        self._over = threading.Event()
        self._starter = threading.current_thread()
        super().start()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def stop(self) -> None:
        """Whatever it waits for is of no use any more; nor is what the threads wait for that it has started."""
        self._told = True

    _told = False

    @property
    def is_stopping(self) -> bool:
        return self._told or _is_stopping(self._starter)


def end_all(threads: list[Thread]) -> None:
    """Returns when all those that were started have stopped."""
    started = [thread for thread in threads if thread.ident is not None]
    for thread in started:
        thread.stop()
    for thread in started:
        thread.join()


def check_stopped() -> None:
    """Raises Cancelled in a thread that was told to stop."""
    if _is_stopping(threading.current_thread()):
        raise Cancelled("stopped")


def sleep(seconds: float) -> None:
    """As ``time.sleep``. Raises Cancelled in a thread that is told to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check_stopped()
        time.sleep(min(left, SLICE_SECONDS))


def _is_stopping(thread: threading.Thread) -> bool:
    return isinstance(thread, Thread) and thread.is_stopping
