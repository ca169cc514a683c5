"""EventLog: the writers' side. A line is JSON: ``[time in ns, kind, action, id, attributes]``.

Each line is one ``write`` to a file opened for appending. It begins with a newline as well as it ends with one: what a
killed writer or a full disk has cut off is then a line of its own, which no reader understands.
"""

from __future__ import annotations

import fcntl
import os
import time

from cais.spec.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cais.events.reading import Event

# The log and the one before it: some 20,000 events each.
LIMIT_BYTES = 4 << 20
# Labels may be of any size: those that do not fit are left out.
_ATTRIBUTES_BYTES = 1 << 15


class EventLog:
    """The events of one root directory; for any number of processes and threads at once."""

    def __init__(self, root: str) -> None:
        self.directory = os.path.join(root, "events")
        self.path = os.path.join(self.directory, "log")

    def write(self, kind: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None:
        """``kind``, ``action`` and the names of ``attributes`` are Docker's. The important attributes come first.

        Raises nothing: what has happened has happened, also where it cannot be noted.
        """
        self.write_together(((kind, action, id, attributes or {}),))

    def write_together(self, events: Iterable[tuple[str, str, str, Mapping[str, str]]]) -> None:
        """As ``write``, of what has happened at once, in this order; for the price of one."""
        # Not UTF-8 is kept as surrogates, which JSON escapes, as it does newlines.
        lines = [
            b"\n" + encode([time.time_ns(), kind, action, id, _fitting(attributes)]) + b"\n"
            for kind, action, id, attributes in events
        ]
        try:
            self._append(b"".join(lines))
        except OSError:
            pass

    def read(
        self, since_nanoseconds: int = 0, until_nanoseconds: int = 0, wait: Callable[[], bool] | None = None
    ) -> Iterator[Event]:
        """See ``reading.read``."""
        from cais.events.reading import read

        return read(self.path, since_nanoseconds, until_nanoseconds, wait)

    def _append(self, line: bytes) -> None:
        while True:
            descriptor = self._open()
            try:
                # Shared with all writers: whoever begins a new log waits for none of them, and they for him.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if not _is_at(descriptor, self.path):
                    continue
                os.write(descriptor, line)
                if os.lseek(descriptor, 0, os.SEEK_CUR) > LIMIT_BYTES:
                    self._begin_anew(descriptor)
                return
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            return os.open(self.path, flags, 0o600)

    def _begin_anew(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody writes: the next one does it
        if _is_at(descriptor, self.path):
            os.rename(self.path, self.path + ".1")


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _fitting(attributes: Mapping[str, str]) -> dict[str, str]:
    fitting, size = {}, 0
    for key, value in attributes.items():
        size += len(key) + len(value)
        if size <= _ATTRIBUTES_BYTES:
            fitting[key] = value
    return fitting
