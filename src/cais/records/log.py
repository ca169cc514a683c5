"""The write-ahead log of a SQLite database: when what was committed is on the disk."""

from __future__ import annotations

import os
import threading

from cais.errors import from_os_error


class WriteAheadLog:
    """SQLite writes commits to it without waiting for the disk (``synchronous=NORMAL``: what it moves from the log into
    the database it has waited for). Who has to wait does so here, and one wait serves all that wait meanwhile."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock, self._syncing = threading.Lock(), threading.Lock()
        self._asked = self._done = 0

    def sync(self) -> None:
        """Returns when all that was committed before is on the disk. Raises Unavailable, Failed."""
        with self._lock:
            self._asked += 1
            mine = self._asked
        with self._syncing:
            if self._done >= mine:
                return
            with self._lock:
                serves = self._asked
            try:
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                pass  # the last connection has moved everything into the database, and removed it
            else:
                try:
                    os.fdatasync(descriptor)
                except OSError as error:
                    raise from_os_error(error, "write the database's log") from None
                finally:
                    os.close(descriptor)
            self._done = serves
