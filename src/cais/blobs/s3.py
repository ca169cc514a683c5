"""S3Blobs: blobs and uploads as objects of an S3-compatible bucket.

    UPLOAD/OFFSET-RANDOM      the bytes of an upload from that offset (hexadecimal) on: a part

A part is an object of its own, written whole and never changed. The list of an upload's parts is in the database, so
any replica goes on where another stopped; a finished blob stays the list that its upload was, because nothing there can
be renamed, and a copy would move gigabytes. No two parts have one name: of two writers at one offset, the database
takes one's list, and the other's objects are in nobody's.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from cais.blobs.objects import Objects
from cais.errors import Corrupt, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from cais.blobs.port import Location, Parts, Pieces
    from cais.blobs.s3_settings import S3Settings
    from cais.spec.digest import Digest

_SMALLEST_PART_BYTES = 1 << 20
_PARTS_UNDER_WAY = 2  # of one writer, beside the one that is filled
_THREADS = 16
_OURS = re.compile(r"[0-9a-f]{32}/[0-9a-f]{12,}-[0-9a-f]{8}")


class S3Blobs:
    """Any number of processes and hosts may use one bucket."""

    is_near, least_chunk_bytes = False, _SMALLEST_PART_BYTES

    def __init__(self, settings: S3Settings) -> None:
        """Raises Invalid."""
        self._objects = Objects(settings)
        self._part_bytes, self._link_seconds = settings.part_bytes, settings.link_seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")
        self._lock = Lock()
        self._writers = 0

    def append(self, upload: str, parts: Parts, offset_bytes: int) -> S3Writer:
        if sum(size for _, size in parts) != offset_bytes:
            raise Corrupt(f"the parts of the upload {upload} are not its {offset_bytes} bytes")
        return S3Writer(self, upload, parts)

    def reread(self, upload: str, parts: Parts, offset_bytes: int) -> Iterator[bytes]:
        return self.read({"upload": upload, "parts": parts}, 0, offset_bytes)

    def discard(self, upload: str, parts: Parts) -> None:
        self.remove({"upload": upload, "parts": parts})

    def open_file(self, location: Location) -> None:
        return None

    def read(self, location: Location, start: int, stop: int) -> Iterator[bytes]:
        for name, size in location["parts"]:
            if start < size and stop > 0:
                yield from self._objects.read(f"{location['upload']}/{name}", max(start, 0), min(stop, size))
            start -= size
            stop -= size
        if stop > 0:
            raise Corrupt(f"the parts of the blob end {stop} bytes too early")

    def link(self, location: Location, media_type: str) -> str | None:
        if not self._link_seconds or len(location["parts"]) != 1:
            return None
        return self._objects.link(f"{location['upload']}/{location['parts'][0][0]}", self._link_seconds)

    def size(self, location: Location) -> int:
        there = {item.name: item.size_bytes for item in self._objects.list(f"{location['upload']}/")}
        names = [f"{location['upload']}/{name}" for name, _ in location["parts"]]
        if not there.keys() >= set(names):
            raise NotFound("parts of the blob are not where they were stored")
        return sum(there[name] for name in names)

    def name(self, location: Location) -> str:
        return str(location["upload"])

    def adopt(self, path: str, digest: Digest) -> None:
        return None

    def remove(self, location: Location) -> None:
        below = f"{location['upload']}/"
        names = {below + name for name, _ in location["parts"]}
        # And what a writer left that was not the first at its offset: nothing else is below this name.
        names.update(item.name for item in self._objects.list(below))
        self._objects.remove(sorted(names))

    def stored(self) -> Iterator[tuple[Location, int, float]]:
        upload, modified = "", 0.0
        parts: Parts = []
        for item in self._objects.list(""):
            if _OURS.fullmatch(item.name) is None:
                continue  # somebody else's, in a bucket that is shared: nobody may take it for a stray of ours
            above, _, name = item.name.partition("/")
            if above != upload and parts:
                yield {"upload": upload, "parts": parts}, sum(size for _, size in parts), modified
                parts, modified = [], 0.0
            upload = above
            parts.append([name, item.size_bytes])
            modified = max(modified, item.modified_unix)
        if parts:
            yield {"upload": upload, "parts": parts}, sum(size for _, size in parts), modified

    def unfinished(self) -> Iterator[tuple[str, Parts, float]]:
        return iter(())  # by its objects an upload looks as a blob does: ``stored`` has them all

    def answers(self) -> None:
        self._objects.answers()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    # What writers share.

    def enter(self) -> None:
        with self._lock:
            self._writers += 1

    def leave(self) -> None:
        with self._lock:
            self._writers -= 1

    def part_bytes(self) -> int:
        """How large a part may grow now, for all writers together to stay within bounds."""
        fair = 4 * self._part_bytes // ((_PARTS_UNDER_WAY + 1) * max(1, self._writers))
        return max(min(self._part_bytes, fair), _SMALLEST_PART_BYTES)

    def put(self, name: str, content: bytearray) -> Future[None]:
        return self._pool.submit(self._objects.put, name, content)

    def forget(self, names: list[str]) -> None:
        """Removes objects that are in no list, some time; what is not removed is found by a check."""
        self._pool.submit(self._objects.remove, names)


class S3Writer:
    """Gathers pieces to a part, which is written while the next one is gathered."""

    is_first = False  # a bucket does not say

    def __init__(self, blobs: S3Blobs, upload: str, parts: Parts) -> None:
        self._blobs = blobs
        self._upload = upload
        self._parts = list(parts)
        self._offset = sum(size for _, size in parts)
        self._committed = len(parts)
        self._gathered = bytearray()
        self._under_way: list[Future[None]] = []
        self._is_open = True
        blobs.enter()

    def write(self, pieces: Pieces) -> None:
        limit = self._blobs.part_bytes()
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                room = max(0, limit - len(self._gathered))
                self._gathered += rest[:room]
                rest = rest[room:]
                if len(self._gathered) >= limit:
                    self._put()

    def commit(self) -> Parts:
        self._put()
        self._wait(0)
        self._committed = len(self._parts)
        return list(self._parts)

    def finish(self, digest: Digest) -> Location:
        return {"upload": self._upload, "parts": self.commit()}

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._blobs.leave()
        self._gathered.clear()
        failures = [future.exception() for future in self._under_way]
        if any(failures):
            return  # a store that does not take what it is sent is not asked for more just now
        if lost := [f"{self._upload}/{name}" for name, _ in self._parts[self._committed :]]:
            self._blobs.forget(lost)

    def _put(self) -> None:
        if not self._gathered:
            return
        self._wait(_PARTS_UNDER_WAY - 1)
        content, self._gathered = self._gathered, bytearray()
        name = f"{self._offset:012x}-{os.urandom(4).hex()}"
        self._parts.append([name, len(content)])
        self._offset += len(content)
        self._under_way.append(self._blobs.put(f"{self._upload}/{name}", content))

    def _wait(self, most: int) -> None:
        """Until no more than ``most`` are under way. Raises what writing one has raised, each time from then on."""
        while len(self._under_way) > most:
            self._under_way[0].result()
            del self._under_way[0]
