"""Receiving blobs from afar: what came before a connection broke, or a process was killed, is kept and gone on with.

A kept file is named by the digest that it shall have, and locked while it is written. Two processes that want the same
blob fetch it once: the second waits for the first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator

from cais.content.store import ContentStore, Ingest
from cais.errors import CaisError, Cancelled, Corrupt, from_os_error
from cais.host.threads import sleep
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.ports import Source

_LOOK_SECONDS = 0.05
_PIECE_BYTES = 1 << 20


class Receiver:
    """A ``ports.Taker`` into the store: what is there already, and what comes, is kept from the collector for this
    process. And a Source of both: what arrives can be read while it does. ``begun`` is told of each blob that can.

    What is there and damaged is taken again. ``thorough``: all that is there is read for that, not only what looks so.
    """

    def __init__(
        self, content: ContentStore, begun: Callable[[Descriptor], None] | None = None, *, thorough: bool = False
    ) -> None:
        self._content = content
        self._begun = begun
        self._thorough = thorough
        self.found_any = False  # whether anything was there already
        self._changed = threading.Condition()
        self._arriving: dict[Digest, _Kept] = {}

    def exists(self, blob: Descriptor) -> bool:
        """Raises Corrupt where the store has other bytes under this digest, by their number."""
        size = self._content.size_of(blob.digest)
        if size is None:
            return False
        self._content.hold((blob.digest,))
        size = self._content.size_of(blob.digest)  # again: a collector may have been faster than the hold
        if size is not None and size != blob.size_bytes:
            raise Corrupt(
                f"the blob {blob.digest} should have {blob.size_bytes} bytes, but what has this digest has {size}"
            )
        if size is None or not self._content.is_sound(blob.digest, thorough=self._thorough):
            return False
        self.found_any = True
        return True

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        self._content.push(blob, pieces)

    def take(self, blob: Descriptor, source: Source) -> str:
        """Stores the blob, from the byte on that was the last to come before. Always returns "".

        Raises Corrupt where the bytes are not ``blob``; nothing is kept of them then. What else is raised keeps them.
        """
        with _Kept(self._content, blob, self.exists) as kept:
            if kept.is_there:
                return ""
            if kept.size_bytes:
                try:
                    self._fill(kept, blob, source)
                    return ""
                except Corrupt:
                    kept.begin_again()  # it may be that what was kept is what is wrong
            self._show(kept, blob)
            try:
                self._fill(kept, blob, source)
            finally:
                self._hide(kept, blob)
            return ""

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob that is here, or of one that arrives, as it does: the last of them come when all are
        verified. Raises NotFound where it is neither, Cancelled where it stops arriving."""
        with self._changed:
            kept = self._arriving.get(blob.digest)
            if kept is None:
                return self._content.fetch(blob, offset)
            descriptor = kept.opened()
        return self._followed(kept, blob, descriptor, offset)

    def _followed(self, kept: _Kept, blob: Descriptor, descriptor: int, position: int) -> Iterator[bytes]:
        try:
            while True:
                with self._changed:
                    # The last byte waits for the verdict on all.
                    while (end := min(kept.size_bytes, blob.size_bytes - 1)) <= position and not kept.has_ended:
                        self._changed.wait()
                    if kept.has_ended:
                        end = kept.size_bytes
                        if not kept.is_committed:
                            raise Cancelled(f"the blob {blob.digest} stopped arriving")
                while position < end:
                    piece = os.pread(descriptor, min(_PIECE_BYTES, end - position), position)
                    position += len(piece)
                    yield piece
                if end >= blob.size_bytes:
                    return
        finally:
            os.close(descriptor)

    def _show(self, kept: _Kept, blob: Descriptor) -> None:
        kept.written = self._notify
        with self._changed:
            self._arriving[blob.digest] = kept
        if self._begun is not None:
            self._begun(blob)

    def _hide(self, kept: _Kept, blob: Descriptor) -> None:
        with self._changed:
            kept.has_ended = True
            del self._arriving[blob.digest]
            self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @staticmethod
    def _fill(kept: _Kept, blob: Descriptor, source: Source) -> None:
        if kept.size_bytes < blob.size_bytes:
            for piece in source.fetch(blob, kept.size_bytes):
                kept.write(piece)
                if kept.size_bytes > blob.size_bytes:
                    break
        try:
            kept.commit(blob)
            kept.is_committed = True
        except Corrupt:
            # Of less than all, the rest may come later.
            if kept.size_bytes >= blob.size_bytes:
                kept.is_worthless = True
            raise


class _Kept(Ingest):
    """An ingest whose file outlives a failure. ``is_there``: another process stored the blob meanwhile."""

    def __init__(self, content: ContentStore, blob: Descriptor, exists: Callable[[Descriptor], bool]) -> None:
        super().__init__(content, blob.digest.algorithm)
        self._blob = blob
        self._exists = exists
        self.path = content.kept_path(blob.digest)
        self.is_there = False
        self.is_worthless = False
        self.written: Callable[[], None] | None = None
        self.has_ended = self.is_committed = False

    def __enter__(self) -> _Kept:
        try:
            while not self._locked():
                if self._exists(self._blob):
                    self.is_there = True
                    return self
                sleep(_LOOK_SECONDS)
            if not os.fstat(self._descriptor).st_size:
                # Who had the file before may just be putting it in its place: what he does so is to be seen here first.
                with self._store._database.transaction():
                    pass
            self.is_there = self._exists(self._blob)
            if not self.is_there:
                self._read()
        except OSError as error:
            self.__exit__()
            raise from_os_error(error, "write to the content store")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _locked(self) -> bool:
        """Opens and locks the file that is at the path now; False when another process has it."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who had it may have renamed or removed it in between.
            if os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                self._descriptor = descriptor
                return True
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(descriptor)
                raise
        os.close(descriptor)
        return False

    def opened(self) -> int:
        """A descriptor of its own to read what was written. Not by the path: the file may have been put in its place
        already, and another process's be there, which waited for it."""
        return os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def _read(self) -> None:
        while piece := os.read(self._descriptor, _PIECE_BYTES):
            self._hash.update(piece)
            self.size_bytes += len(piece)
        if self.size_bytes > self._blob.size_bytes:
            self.begin_again()

    def write(self, piece: bytes | memoryview) -> None:
        """A full disk is not kept full."""
        try:
            super().write(piece)
        except CaisError:
            self.is_worthless = True
            raise
        if self.written is not None:
            self.written()

    def begin_again(self) -> None:
        """Forgets all bytes."""
        import hashlib

        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._algorithm)
        self.size_bytes = 0
        self.is_worthless = False

    def __exit__(self, *_: object) -> None:
        if self._descriptor < 0:
            return
        if self.is_there or self.is_worthless or not self.size_bytes:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
        os.close(self._descriptor)
        self._descriptor = -1
