"""Copy: a graph of descriptors from a source to a sink. Pull, push, image copy and cache export are this one function.

Children are at the sink before what names them, so that whatever is killed leaves nothing that refers to nothing. Blobs
go in parallel threads, what the sink has already does not go. Manifests and configs are small and are read whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator

from cais.errors import Cancelled, Corrupt, Invalid
from cais.host.threads import Thread, end_all
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, decode
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.ports import Sink, Source, Taker

    Wanted = Callable[[Descriptor], bool]
    Stored = Callable[[Descriptor], None]

JOBS = 4
DEPTH_LIMIT = 8
MANIFESTS_LIMIT = 10_000
BLOBS_LIMIT = 100_000
_DOCUMENTS = types.MANIFESTS | types.INDEXES


class Graph(NamedTuple):
    """What a target reaches: manifests and indexes with their bytes, children first, and blobs as they are named."""

    documents: dict[Digest, tuple[Descriptor, bytes]]
    blobs: dict[Digest, Descriptor]


def everything(descriptor: Descriptor) -> bool:
    """Of an index all manifests."""
    return True


def read_graph(source: Source, target: Descriptor, wanted: Wanted = everything) -> Graph:
    """Reads all documents below ``target``, verified; of an index those that are ``wanted``.

    Raises NotFound, Corrupt, Invalid (nested too deep, too many, of contradicting sizes).
    """
    graph = Graph({}, {})
    _read(source, target, wanted, graph, 0)
    return graph


def copy(
    source: Source,
    sink: Sink | Taker,
    target: Descriptor,
    progress: Progress = silent,
    *,
    wanted: Wanted = everything,
    present: Collection[Digest] = (),
    stored: Stored | None = None,
    graph: Graph | None = None,
    put_target: Callable[[Descriptor, bytes], object] | None = None,
    jobs: int = JOBS,
) -> Graph:
    """Copies what ``target`` reaches, then ``target``; returns what that is.

    ``wanted`` chooses among an index's manifests (the index is copied as it is). What is ``present`` is at the sink: it
    is not asked for. ``stored`` is called for each blob as soon as the sink has it, from any thread. ``graph`` is that
    of ``target`` where it was read before. ``put_target`` stores the target itself (under a tag, say).

    Events: ``blob`` with a ``state`` (``planned`` for each blob before any, then ``exists``, ``mounted`` (from a
    ``repository``) or ``received``), and ``status`` while a blob comes. Raises what source and sink raise: the first
    failure ends it.
    """
    graph = graph or read_graph(source, target, wanted)
    for blob in graph.blobs.values():
        progress(_event(blob, "planned"))
    _Blobs(source, sink, list(graph.blobs.values()), frozenset(present), progress, stored, jobs).run()
    for document, raw in graph.documents.values():
        if document.digest == target.digest and put_target is not None:
            put_target(document, raw)
        elif document.digest == target.digest or not (document.digest in present or sink.exists(document)):
            sink.push(document, iter((raw,)))
    return graph


def _event(blob: Descriptor, state: str) -> dict[str, object]:
    return {"event": "blob", "digest": blob.digest, "size_bytes": blob.size_bytes, "state": state}


def _read(source: Source, item: Descriptor, wanted: Wanted, graph: Graph, depth: int) -> None:
    if item.digest in graph.documents:
        return
    if depth > DEPTH_LIMIT:
        raise Invalid(f"indexes are nested more than {DEPTH_LIMIT} levels deep")
    raw = read_document(source, item)
    document = decode(raw, item.media_type)
    for child in document.children:
        if isinstance(document, Index) and not wanted(child):
            continue
        if child.media_type in _DOCUMENTS:
            _read(source, child, wanted, graph, depth + 1)
        elif not (child.extra or {}).get("urls"):  # what lives elsewhere stays there
            known = graph.blobs.setdefault(child.digest, child)
            if known.size_bytes != child.size_bytes:
                raise Corrupt(f"{child.digest} is said to have {known.size_bytes} and {child.size_bytes} bytes")
    if len(graph.documents) >= MANIFESTS_LIMIT or len(graph.blobs) > BLOBS_LIMIT:
        raise Invalid(f"{item.digest} is one of more than {MANIFESTS_LIMIT} manifests or {BLOBS_LIMIT} blobs")
    graph.documents[item.digest] = (item, raw)


def read_document(source: Source, item: Descriptor) -> bytes:
    """A manifest or an index, whole and verified. Raises NotFound, Corrupt, Invalid (too large)."""
    if item.size_bytes > types.MANIFEST_LIMIT_BYTES:
        raise Invalid(f"the manifest {item.digest} is larger than {types.MANIFEST_LIMIT_BYTES} bytes")
    return read_whole(source, item, "manifest")


def read_whole(source: Source, item: Descriptor, what: str) -> bytes:
    """A small blob, called ``what`` where it is not what its digest and size say: then Corrupt is raised."""
    while True:
        raw = bytearray()
        for piece in source.fetch(item):
            raw += piece
            if len(raw) > item.size_bytes:
                break
        if len(raw) == item.size_bytes and item.digest.fits(bytes(raw)):
            return bytes(raw)
        if not _distrusted(source, item):
            raise Corrupt(f"the {what} {item.digest} is not what its digest and size say")


def _distrusted(source: Source, blob: Descriptor) -> bool:
    """Whether ``blob``, which was something else, can be had again from another place (``ports.Choosy``)."""
    distrust = getattr(source, "distrust", None)
    return distrust is not None and bool(distrust(blob))


class _Blobs:
    """Some threads that take blobs from a list until it is empty or one of them failed."""

    def __init__(
        self,
        source: Source,
        sink: Sink | Taker,
        blobs: list[Descriptor],
        present: frozenset[Digest],
        progress: Progress,
        stored: Stored | None,
        jobs: int,
    ) -> None:
        self._source = source
        self._sink = sink
        self._todo = blobs[::-1]
        self._present = present
        self._progress = progress
        self._stored = stored
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        # The calling thread works, too: what interrupts it (ctrl-C) stops all.
        others = min(jobs, len(blobs)) - 1
        self._threads = [Thread(target=self._work, name="copy", daemon=True) for _ in range(others)]

    def run(self) -> None:
        try:
            for thread in self._threads:
                thread.start()
            self._work()
            for thread in self._threads:
                thread.join()
        except BaseException as error:
            self._fail(error)
            end_all(self._threads)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._todo or self._error is not None:
                    return
                blob = self._todo.pop()
            try:
                self._copy(blob)
            except BaseException as error:
                self._fail(error)
                return

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None or isinstance(self._error, Cancelled):
                self._error = error
        for thread in self._threads:
            thread.stop()

    def _copy(self, blob: Descriptor) -> None:
        state, place = "received", ""
        if blob.digest in self._present or self._sink.exists(blob):
            state = "exists"
        else:
            while True:
                try:
                    place = self._received(blob)
                    break
                except Corrupt:
                    if not _distrusted(self._source, blob):
                        raise
            if place:
                state = "mounted"
        self._progress({**_event(blob, state), "repository": place} if place else _event(blob, state))
        if self._stored is not None:
            self._stored(blob)

    def _received(self, blob: Descriptor) -> str:
        counted = _Counted(self._source, self._progress, self._check)
        take = getattr(self._sink, "take", None)
        if take is not None:
            return str(take(blob, counted))
        self._sink.push(blob, counted.fetch(blob))
        return ""

    def _check(self) -> None:
        if self._error is not None:
            raise Cancelled("stopped")


class _Counted:
    """A Source that tells how far it is, and stops where another thread has failed."""

    def __init__(self, source: Source, progress: Progress, check: Callable[[], None]) -> None:
        self._source = source
        self._progress = progress
        self._check = check

    def exists(self, blob: Descriptor) -> bool:
        return self._source.exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        position = offset
        for piece in self._source.fetch(blob, offset):
            self._check()
            position += len(piece)
            self._progress({"event": "status", "what": blob.digest, "current": position, "total": blob.size_bytes})
            yield piece
