"""Threads that can be waited for again after Ctrl-C."""

from __future__ import annotations

import threading


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
        super().start()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)
