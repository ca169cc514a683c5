"""The content identity of a selection, which is the cache key of a COPY: names, kinds, modes, links, contents, kept
extended attributes, and a stage's owners; not modification times, and not where the tree stands.

A file's content digest is sha256 of its bytes; above ``PIECE_BYTES``, sha256 of the digests of its pieces, so that
threads can share one file. Nobody else ever sees it.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence

from cais.build.selection import Entry, Row, Selection, Source
from cais.build.stat_cache import RACY_NANOSECONDS, UNKNOWN, StatCache
from cais.build.tree import DIRECTORY, FILE, open_beneath, shown
from cais.errors import CaisError, Failed, from_os_error
from cais.spec.digest import Digest

PIECE_BYTES = 8 << 20
_VERSION = b"cais selection 1\0"
_NOTHING = b"\1" * 32  # of a directory, FIFO or device without extended attributes: its mode and size say it all
_THREADS = 2
_OWNER = struct.Struct("<IQ")


def digest_of(selection: Selection, cache: StatCache | None = None) -> Digest:
    """The digest of all that a copy of ``selection`` depends on. Raises Denied, Failed when a file cannot be read."""
    if cache is None:
        return _digest(_content(selection, None))
    status = _status_digest(selection)
    content = cache.content_of(status)
    if content is None:
        content = _content(selection, cache)
        if not selection.changed and _all_trusted(selection):
            cache.keep_content(status, content)
    return _digest(content)


def read_digests(selection: Selection, cache: StatCache | None = None) -> None:
    """Fills ``selection.digests``, reading what ``cache`` does not know, and keeps them there."""
    if selection.digests:
        return
    found: list[bytes] = []
    jobs: list[int] = []
    for number, (path, listing) in enumerate(listed(selection)):
        known = cache.directory(path) if cache is not None else None
        if known is not None and known[0] == listing and UNKNOWN not in known[1]:
            found.append(known[1])
        else:
            found.append(b"")
            jobs.append(number)
    if jobs:
        _Reader(selection, found, cache).read(jobs)
    selection.digests = found
    if cache is not None and jobs:
        cache.save(selection.started, listed(selection), found)


def listed(selection: Selection) -> Iterator[tuple[str, bytes]]:
    """Every listing by the path that the cache keeps it under: the directories', then those of single files."""
    for directory in selection.directories:
        yield directory.path, directory.listing
    for source in selection.sources:
        if not source.is_directory:
            yield _single(source)


def _single(source: Source) -> tuple[str, bytes]:
    """A listing of one file; its path begins with NUL."""
    entry = (os.path.basename(source.path), *source.entry[1:])
    return "\0" + source.path, marshal.dumps([entry], 2)


def _known(entries: Sequence[Row], known: tuple[bytes, bytes] | None) -> tuple[bytes, list[int]]:
    """Digests of entries that are as they were, zeros for the others, and which those are."""
    if known is None:
        return bytes(32 * len(entries)), list(range(len(entries)))
    old = {entry: number for number, entry in enumerate(marshal.loads(known[0]))}
    pieces, wanted = [], []
    for number, entry in enumerate(entries):
        position = old.get(entry)
        digest = UNKNOWN if position is None else known[1][position * 32 : position * 32 + 32]
        if digest == UNKNOWN:
            wanted.append(number)
        pieces.append(digest)
    return b"".join(pieces), wanted


def _status_digest(selection: Selection) -> bytes:
    hasher = hashlib.sha256(_VERSION + bytes([selection.keep_owners]))
    for source in selection.sources:
        hasher.update(marshal.dumps((source.name, source.path, source.first, source.end, tuple(source.entry)), 2))
    for directory in selection.directories:
        hasher.update(marshal.dumps((directory.path, len(directory.listing)), 2))
        hasher.update(directory.listing)
    return hasher.digest()


def _all_trusted(selection: Selection) -> bool:
    limit = selection.started - RACY_NANOSECONDS
    for _, listing in listed(selection):
        for entry in marshal.loads(listing):
            if entry[3] >= limit or entry[4] >= limit:
                return False
    return True


def _content(selection: Selection, cache: StatCache | None) -> bytes:
    read_digests(selection, cache)
    hasher = hashlib.sha256(_VERSION + bytes([selection.keep_owners]))
    single = len(selection.directories)
    for source in selection.sources:
        if not source.is_directory:
            # What it is called counts: it is copied under that name.
            entry = Entry(source.name, *source.entry[1:])
            hasher.update(b"f" + _summary([tuple(entry)], selection.digests[single], selection.keep_owners))
            single += 1
            continue
        hasher.update(b"d")
        for number in range(source.first, source.end):
            directory = selection.directories[number]
            path = os.fsencode(directory.path[len(source.path) :].lstrip("/"))
            summary = _summary(directory.entries(), selection.digests[number], selection.keep_owners)
            hasher.update(struct.pack("<I", len(path)) + path + hashlib.sha256(summary).digest())
        if selection.keep_owners:
            hasher.update(_links(selection, source))
    return hasher.digest()


def _summary(entries: Sequence[tuple[object, ...]], digests: bytes, owners: bool) -> bytes:
    pack = _OWNER.pack
    pieces = []
    position = 0
    for entry in entries:
        mode = entry[1]
        # The size of a device is its number; a file's is in its digest.
        size = entry[2] if mode & 0o170000 in (0o020000, 0o060000) else 0  # type: ignore[operator]
        pieces.append(os.fsencode(entry[0]))  # type: ignore[arg-type]
        pieces.append(b"\0")
        pieces.append(pack(mode, entry[6] if owners else size))
        if owners and size:
            pieces.append(pack(0, size))
        pieces.append(digests[position : position + 32])
        position += 32
    return b"".join(pieces)


def _links(selection: Selection, source: Source) -> bytes:
    start = len(source.path) + 1 if source.path else 0
    prefix = f"{source.path}/" if source.path else ""
    groups = []
    for paths in selection.links.values():
        group = sorted({path[start:] for path in paths if path.startswith(prefix)})
        if len(group) > 1:
            groups.append(group)
    return marshal.dumps(sorted(groups), 2) if groups else b""


def _digest(content: bytes) -> Digest:
    return Digest("sha256:" + content.hex())


class _Reader:
    """Reads and hashes in threads what the jobs want. The first error ends them all."""

    def __init__(self, selection: Selection, found: list[bytes], cache: StatCache | None) -> None:
        self._selection = selection
        self._singles = [source for source in selection.sources if not source.is_directory]
        self._found = found
        self._cache = cache
        self._error: BaseException | None = None
        self._large: list[tuple[int, int, str, int]] = []  # listing, entry, path, size

    def read(self, jobs: list[int]) -> None:
        import threading

        pending = iter(jobs)
        lock = threading.Lock()

        def work() -> None:
            while self._error is None:
                with lock:
                    number = next(pending, None)
                if number is None:
                    return
                self._directory(number)

        _in_threads(work, min(_THREADS, len(jobs)), self._failed)
        for number, position, path, size in self._large:
            if self._error is not None:
                break
            digest, old = self._pieces(path, size), self._found[number]
            self._found[number] = old[: position * 32] + digest + old[position * 32 + 32 :]
        if self._error is not None:
            raise self._error

    def _failed(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error

    def _directory(self, number: int) -> None:
        directories = self._selection.directories
        if number < len(directories):
            key = path = directories[number].path
            entries = directories[number].entries()
        else:
            key, listing = _single(self._singles[number - len(directories)])
            path = os.path.dirname(key[1:])
            entries = marshal.loads(listing)
        kept, wanted = _known(entries, self._cache.directory(key) if self._cache is not None else None)
        digests = bytearray(kept)
        try:
            descriptor = self._selection.tree.open(path, DIRECTORY)
        except OSError as error:
            raise read_error(error, path)
        prefix = f"{path}/" if path else ""
        try:
            for position in wanted:
                entry = entries[position]
                try:
                    digest = self._entry(descriptor, path, entry)
                except OSError as error:
                    raise read_error(error, prefix + entry[0])
                if digest is None:
                    self._large.append((number, position, prefix + entry[0], entry[2]))
                else:
                    digests[position * 32 : position * 32 + 32] = digest
        finally:
            os.close(descriptor)
        self._found[number] = bytes(digests)

    def _entry(self, descriptor: int, directory: str, entry: Row) -> bytes | None:
        """None for a file that is worth more than one thread."""
        name, mode, size = entry[0], entry[1], entry[2]
        kind = mode & 0o170000
        if kind == 0o120000:
            return hashlib.sha256(b"l" + os.fsencode(os.readlink(name, dir_fd=descriptor))).digest()
        if kind == 0o040000:
            file = os.open(name, DIRECTORY, dir_fd=descriptor)
            try:
                attributes = kept_attributes(file)
            finally:
                os.close(file)
            return hashlib.sha256(b"d" + marshal.dumps(attributes, 2)).digest() if attributes else _NOTHING
        if kind != 0o100000:
            return _NOTHING
        if size > PIECE_BYTES:
            return None
        file = os.open(name, FILE, dir_fd=descriptor)
        try:
            data = os.read(file, size + 1) if stat.S_ISREG(os.fstat(file).st_mode) else b""
            if len(data) != size:
                data = self._again(file, data, f"{directory}/{name}" if directory else name)
            return with_attributes(hashlib.sha256(data).digest(), file)
        finally:
            os.close(file)

    def _again(self, file: int, data: bytes, path: str) -> bytes:
        """A short read, or a file that changed since it was listed."""
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Failed(f"{shown('/' + path)} changed while the build was reading it", hint="Run the build again.")
        pieces = [data]
        total = len(data)
        while piece := os.read(file, 1 << 20):
            pieces.append(piece)
            total += len(piece)
            if total > 4 * PIECE_BYTES:
                raise Failed(f"{shown('/' + path)} grows while the build reads it", hint="Run the build again.")
        self._selection.changed.append(path)
        return b"".join(pieces)

    def _pieces(self, path: str, size: int) -> bytes:
        try:
            file = open_beneath(self._selection.tree.descriptor, path, FILE)
        except OSError as error:
            raise read_error(error, path)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise Failed(f"{shown('/' + path)} changed while the build was reading it", hint="Run the build again.")
            import threading

            count = (size + PIECE_BYTES - 1) // PIECE_BYTES
            digests = [b""] * count
            numbers = iter(range(count))
            lock = threading.Lock()

            def work() -> None:
                buffer = bytearray(1 << 20)
                view = memoryview(buffer)
                while self._error is None:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    digests[number] = _piece(file, number * PIECE_BYTES, view)

            _in_threads(work, _THREADS, self._failed)
            if os.fstat(file).st_size != size:
                self._selection.changed.append(path)
            return with_attributes(hashlib.sha256(b"pieces" + b"".join(digests)).digest(), file)
        except OSError as error:
            raise read_error(error, path)
        finally:
            os.close(file)


def _piece(file: int, offset: int, view: memoryview) -> bytes:
    hasher = hashlib.sha256()
    end = offset + PIECE_BYTES
    while offset < end:
        count = os.preadv(file, [view[: end - offset]], offset)
        if not count:
            break
        hasher.update(view[:count])
        offset += count
    return hasher.digest()


def with_attributes(digest: bytes, file: int) -> bytes:
    attributes = kept_attributes(file)
    return hashlib.sha256(b"x" + digest + marshal.dumps(attributes, 2)).digest() if attributes else digest


def kept_attributes(file: int | str) -> list[tuple[str, bytes]]:
    """The extended attributes that a copy keeps: ``user.*`` and file capabilities; overlayfs' own are not anyone's."""
    try:
        names = os.listxattr(file)
    except OSError:
        return []  # a file system without them
    if not names:
        return []
    found = []
    for name in sorted(names):
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
            try:
                found.append((name, os.getxattr(file, name)))
            except OSError:
                continue
    return found


def _in_threads(work: Callable[[], None], count: int, failed: Callable[[BaseException], None]) -> None:
    """Runs ``work`` in ``count`` threads, this one among them; ``failed`` gets what it raises."""

    import threading

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failed(error)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    guarded()
    for thread in threads:
        thread.join()


def read_error(error: OSError, path: str) -> CaisError:
    """What an OSError of reading ``path`` of the tree is to the user."""
    import errno

    place = shown("/" + path)
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO):
        return Failed(f"{place} changed while the build was reading it", hint="Run the build again.")
    error.filename = None
    return from_os_error(error, f"read {place} of the build context")
