"""Waiting for files: a directory is watched for changes of what is in it (inotify)."""

from __future__ import annotations

import os
import select

from cais.host import syscalls

# What the kernel or a file system does not report (another host's writes) is seen at the latest after this time.
_LATEST_SECONDS = 1.0


class Watch:
    """``with Watch(directory) as watch:`` and then ``watch.wait``; changes since it was made are not missed.

    Without inotify (a limit is reached, the directory is not there) it is a short sleep.
    """

    def __init__(self, directory: str) -> None:
        self._descriptor = -1
        try:
            self._descriptor = syscalls.inotify(directory)
        except OSError:
            pass

    def wait(self, seconds: float = _LATEST_SECONDS) -> bool:
        """Returns after a change, or after ``seconds`` (one at most) with False."""
        seconds = min(max(seconds, 0.0), _LATEST_SECONDS if self._descriptor >= 0 else 0.1)
        poll = select.poll()
        if self._descriptor >= 0:
            poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(int(seconds * 1000) + 1):
            return False
        try:
            os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            pass
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
