"""Locks between processes: flock on a file. The kernel frees them when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import os


class FileLock:
    """``with FileLock(path):`` or ``acquire``/``release``. The file is made where it is missing, and stays."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def acquire(self, *, shared: bool = False, blocking: bool = True) -> bool:
        """True when held; False when another holds it and ``blocking`` is not wanted."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if blocking else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, mode)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self._descriptor = descriptor
        return True

    def fileno(self) -> int:
        """The descriptor that holds it: the lock is held as long as any process has that open."""
        return self._descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
