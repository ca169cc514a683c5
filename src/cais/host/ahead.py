"""Work in a second thread: an iterator that runs ahead of who consumes it, and a hash that runs beside.

Hashing, compression and reading release the interpreter's lock, so that both threads really run. Memory is bounded by
the number of pieces that wait between them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator

from cais.host.threads import Thread
from cais.spec.digest import Digest

_JOIN_SECONDS = 2.0


class Channel:
    """Pieces between two threads, at most ``depth`` of them waiting. Who makes them says ``finish``, who takes them
    ``close`` where it wants no more."""

    __slots__ = ("_condition", "_depth", "_pieces", "closed", "failure", "finished")

    def __init__(self, depth: int) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._pieces: deque[bytes] = deque()
        self._depth = depth
        self.closed = False  # nobody takes any more
        self.finished = False  # nothing comes any more
        self.failure: BaseException | None = None

    def put(self, piece: bytes) -> bool:
        """False when nobody takes any more."""
        with self._condition:
            while len(self._pieces) >= self._depth and not self.closed:
                self._condition.wait()
            if self.closed:
                return False
            self._pieces.append(piece)
            self._condition.notify_all()
            return True

    def take(self) -> bytes | None:
        """None after the last piece; raises what the other side failed with."""
        with self._condition:
            while not self._pieces and not self.finished:
                self._condition.wait()
            if self._pieces:
                piece = self._pieces.popleft()
                self._condition.notify_all()
                return piece
        if self.failure is not None:
            raise self.failure
        return None

    def finish(self, failure: BaseException | None = None) -> None:
        with self._condition:
            self.failure = failure
            self.finished = True
            self._condition.notify_all()

    def close(self) -> None:
        with self._condition:
            self.closed = True
            self._pieces.clear()
            self._condition.notify_all()


def ahead(pieces: Iterator[bytes], depth: int = 4) -> Iterator[bytes]:
    """``pieces``, made in a thread that is at most ``depth`` of them ahead.

    The thread starts with the first piece asked for and ends when the pieces end, when they raise (here), or when the
    consumer stops; only a source that blocks for ever can keep it, and then it does not keep the process.
    """
    channel = Channel(depth)

    def run() -> None:
        failure: BaseException | None = None
        try:
            for piece in pieces:
                if not channel.put(piece):
                    break
        except BaseException as error:  # handed to the consumer, who raises it
            failure = error
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            channel.finish(failure)

    thread = Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while (piece := channel.take()) is not None:
            yield piece
    finally:
        channel.close()
        thread.join(_JOIN_SECONDS)


class HashBeside:
    """The hash of a stream, computed in a thread beside the one that feeds it; ``size_bytes`` counts what was fed.

    Small pieces are gathered, so that feeding costs little. ``digest()`` ends it; so does ``close()``.
    """

    __slots__ = ("_channel", "_hash", "_small", "_small_bytes", "_thread", "size_bytes")

    def __init__(self, algorithm: str = "sha256", depth: int = 4) -> None:
        self._channel = Channel(depth)
        self._hash = hashlib.new(algorithm)
        self._small: list[bytes] = []
        self._small_bytes = 0
        self.size_bytes = 0
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (piece := self._channel.take()) is not None:
            self._hash.update(piece)

    def update(self, piece: bytes) -> None:
        size = len(piece)
        self.size_bytes += size
        if size < 1 << 17:
            self._small.append(piece)
            self._small_bytes += size
            if self._small_bytes < 1 << 19:
                return
            piece = b"".join(self._small)
            self._small.clear()
            self._small_bytes = 0
        elif self._small:
            self._channel.put(b"".join(self._small))
            self._small.clear()
            self._small_bytes = 0
        self._channel.put(piece)

    def digest(self) -> Digest:
        """Of all that it was fed; waits for the thread, and ends it."""
        if self._small:
            self._channel.put(b"".join(self._small))
            self._small.clear()
        self._channel.finish()
        self._thread.join()
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    def close(self) -> None:
        """Without a result: ends the thread. Harmless after ``digest``."""
        self._small.clear()
        self._channel.close()
        self._channel.finish()
        self._thread.join()
