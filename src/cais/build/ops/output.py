"""What a step's process says, shown while it says it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.ops.mask import Mask

OUTPUT_PIECE_BYTES = 64 << 10
LAST_OUTPUT_LINES = 20


class Output:
    """Two pipes that are read by a thread, so that what a process says is shown while it says it.

    ``failure`` is what showing it raised; ``stop`` is called then. The process is read on to its end: one that cannot
    write would never end. ``secrets`` are shown as ``***``.
    """

    def __init__(self, id: int, progress: Progress, stop: Callable[[], None], secrets: Sequence[bytes] = ()) -> None:
        self._id = id
        self._progress = progress
        self._stop = stop
        self._tail = b""
        self._closed = False
        self._secrets = secrets
        self.failure: BaseException | None = None
        read_out, self.out = os.pipe()
        read_error, self.error = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(read_out, read_error), daemon=True)
        self._thread.start()

    def _read(self, out: int, error: int) -> None:
        import select

        streams = {out: 1, error: 2}
        masks = {descriptor: self._mask() for descriptor in streams}
        poll = select.poll()
        for descriptor in streams:
            poll.register(descriptor, select.POLLIN)
        while streams:
            for descriptor, _ in poll.poll():
                data = os.read(descriptor, OUTPUT_PIECE_BYTES)
                mask = masks[descriptor]
                stream = streams[descriptor]
                if not data:
                    poll.unregister(descriptor)
                    os.close(descriptor)
                    del streams[descriptor]
                if mask is not None:
                    data = mask.feed(data) if data else mask.rest()
                if data:
                    self._tail = (self._tail + data)[-OUTPUT_PIECE_BYTES:]
                    self._show({"event": "output", "id": self._id, "stream": stream, "data": data})

    def _mask(self) -> Mask | None:
        if not self._secrets:
            return None
        from cais.build.ops.mask import Mask, patterns_of

        patterns = patterns_of(self._secrets)
        return Mask(patterns) if patterns else None

    def _show(self, event: dict[str, Any]) -> None:
        if self.failure is None:
            try:
                self._progress(event)
            except BaseException as error:
                self.failure = error
                self._stop()

    def last(self) -> bytes:
        """The last lines, after ``close``."""
        return b"\n".join(self._tail.rstrip(b"\n").split(b"\n")[-LAST_OUTPUT_LINES:])

    def close(self) -> None:
        """Ends when the last process that holds the pipes has ended."""
        if not self._closed:
            self._closed = True
            os.close(self.out)
            os.close(self.error)
            self._thread.join()
