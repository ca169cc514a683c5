"""Garbage collection while serving: what nothing needs goes, in small steps, and a push under way loses nothing.

In this order, so that what one step frees the next one finds:

    uploads         to which nobody has written for a long time
    manifest links  that no tag, index or subject keeps in their repository, where the policy says that these go;
                    and what was about a manifest that is gone
    blob links      to which no manifest of their repository refers
    manifests, blobs that no repository has; where a blob's bytes are is noted as rubbish
    rubbish         its bytes are removed, a while after the note, so that who reads them comes to the end
    strays          bytes of which the database knows nothing: a process died between storing and noting them

A client that is told that something is here relies on it: it will not send it. So each such answer (HEAD, mount, an
upload of what is there) makes the link fresh, and fresh links stay for the time of grace. What happens at the very
same moment is decided by the rows' locks (``cais.records.unneeded``).
"""

from __future__ import annotations

import time

from cais.catalog.strays import Stray, find_strays
from cais.catalog.turns import COLLECTING, SEARCHING, Turn
from cais.records import unneeded
from cais.records.foresight import foresee
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from cais.blobs.port import Blobs
    from cais.catalog.settings import Policy
    from cais.records.database import Database

    Result = TypeVar("Result")

_READ_SECONDS = 900.0  # bytes are removed so long after the last row that named them, or the grace if that is shorter
# Between the moment when bytes are a blob and the one when the database knows it a transaction passes, which waits for
# others at most: no grace is so short that such bytes are strays.
_STRAY_SECONDS = 3600.0
_WINDOW = 5000
_LONGEST_PAUSE_SECONDS = 0.1


class Report(NamedTuple):
    """What was removed (or would be). ``links`` are blobs that one repository had; ``freed_bytes`` counts bytes."""

    uploads: int = 0
    manifests: int = 0
    links: int = 0
    blobs: int = 0
    strays: int = 0
    freed_bytes: int = 0

    def plus(self, **amounts: int) -> Report:
        return self._replace(**{name: getattr(self, name) + amount for name, amount in amounts.items()})


class Collector:
    """``stop`` is asked between two steps: True ends the run there, which loses nothing."""

    def __init__(
        self, database: Database, store: Blobs, policy: Policy, *, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._database, self._store, self._policy, self._stop = database, store, policy, stop
        self._turn = Turn(database, COLLECTING)
        self._report = Report()

    def run(
        self, *, every_seconds: float = 0.0, strays: bool = True, strays_every_seconds: float = 0.0
    ) -> Report | None:
        """Collects; None where another replica does just now, or the last run ended less than ``every_seconds`` ago.
        Strays are looked for where the last search ended longer ago: it lists all that is stored.

        Raises Unavailable, Denied: what was removed until then is removed.
        """
        if not self._turn.take(every_seconds):
            return None
        self._report = Report()
        complete = False
        search = Turn(self._database, SEARCHING)
        searches = strays and search.take(strays_every_seconds)
        try:
            complete = self._collect(searches)
        finally:
            report = self._report._asdict() if complete else None
            if searches:
                search.end(report)
            self._turn.end(report)
        return self._report

    def foresee(self) -> Report:
        """What a run would remove now. Raises Unavailable, Denied."""
        now = time.time()
        with self._database.reading() as connection:
            found = foresee(connection, self._limits())
            uploads = unneeded.count_uploads(connection, now - self._policy.uploads_seconds)
        sizes = [stray.size_bytes for stray in self._find_strays()]
        return Report(
            uploads, found.manifest_links, found.blob_links, found.blobs, len(sizes), found.freed_bytes + sum(sizes)
        )

    def _collect(self, strays: bool) -> bool:
        """Whether it came to its end."""
        steps = [self._uploads, self._manifest_links, self._blob_links, self._manifests, self._blobs, self._rubbish]
        if strays:
            steps.append(self._strays)
        return all(self._goes_on() and step() for step in steps)

    def _goes_on(self) -> bool:
        """Whether nobody stops this run and the job is still ours."""
        return not self._stop() and self._turn.hold()

    def _write(self, action: Callable[..., Result], *arguments: object) -> Result:
        """A short transaction, and a pause as long as it took: on SQLite everybody else waits for it."""
        began = time.perf_counter()
        result = self._database.write(lambda connection: action(connection, *arguments))
        time.sleep(min(time.perf_counter() - began, _LONGEST_PAUSE_SECONDS))
        return result

    def _uploads(self) -> bool:
        before = time.time() - self._policy.uploads_seconds
        for keys in self._found(unneeded.uploads, before):
            stale = self._write(unneeded.remove_uploads, keys, before)
            for upload, parts in stale:
                self._store.discard(upload, parts)
            self._report = self._report.plus(uploads=len(stale))
        return self._goes_on()

    def _manifest_links(self) -> bool:
        # What one pass removes was all that kept something else: an index its manifests, a subject what is about it.
        removed = -1
        while removed:
            removed, limits = 0, self._limits()
            for keys in self._found(unneeded.manifest_links, limits):
                removed += len(self._write(unneeded.remove_manifest_links, keys, limits))
            self._report = self._report.plus(manifests=removed)
            if not self._goes_on():
                return False
        return True

    def _blob_links(self) -> bool:
        limits = self._limits()
        for keys in self._found(unneeded.blob_links, limits):
            gone = self._write(unneeded.remove_blob_links, keys, limits)
            self._report = self._report.plus(links=len(gone))
        return self._goes_on()

    def _manifests(self) -> bool:
        for keys in self._found(unneeded.manifests):
            gone = self._write(unneeded.remove_manifests, keys)
            self._report = self._report.plus(freed_bytes=sum(one.size_bytes for one in gone))
        return self._goes_on()

    def _blobs(self) -> bool:
        for keys in self._found(unneeded.blobs):
            gone = self._write(unneeded.remove_blobs, keys)
            self._report = self._report.plus(blobs=len(gone), freed_bytes=sum(one.size_bytes for one in gone))
        return self._goes_on()

    def _rubbish(self) -> bool:
        before, last = time.time() - min(self._policy.grace_seconds, _READ_SECONDS), 0
        while self._goes_on():
            with self._database.reading() as connection:
                found = unneeded.rubbish(connection, last, before, self._policy.batch)
            if not found:
                return True
            for _, location in found:
                self._store.remove(location)
            last = found[-1].number
            self._write(unneeded.forget_rubbish, [one.number for one in found])
        return False

    def _strays(self) -> bool:
        for stray in self._find_strays(self._goes_on):
            if not self._goes_on():
                return False
            stray.remove(self._store)
            self._report = self._report.plus(strays=1, freed_bytes=stray.size_bytes)
        return self._goes_on()

    def _found(self, read: Callable[..., unneeded.Window], *arguments: object) -> Iterator[list[unneeded.Key]]:
        """Keys that may go, in batches, until the last row or until the run is stopped."""
        behind: unneeded.Key | None = unneeded.START
        while behind is not None and self._goes_on():
            with self._database.reading() as connection:
                found, behind = read(connection, behind, _WINDOW, *arguments)
            for first in range(0, len(found), self._policy.batch):
                if not self._goes_on():
                    return
                yield found[first : first + self._policy.batch]

    def _find_strays(self, goes_on: Callable[[], bool] = lambda: True) -> Iterator[Stray]:
        before = time.time() - max(self._policy.grace_seconds, _STRAY_SECONDS)
        return find_strays(self._database, self._store, before, goes_on)

    def _limits(self) -> unneeded.Limits:
        now, untagged = time.time(), self._policy.untagged_seconds
        return unneeded.Limits(now - self._policy.grace_seconds, now - untagged if untagged else None)
