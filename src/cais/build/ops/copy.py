"""COPY and ADD: where each source goes, what may be replaced, and what new things look like (BuildKit's rules).

- A directory's contents go into the destination, which is made when it is missing: 0755, root's or ``--chown``'s.
- Anything else becomes the destination, or a name in it where it is a directory or is written with a slash at its end.
- An existing destination keeps mode and owner; directories below a source directory are like their source, also those
  that are there already.
- A file never replaces a directory, nor a directory anything else. Links on the way are followed inside the root.
- From a context all is root's; from a stage owners stay. ``--chown`` and ``--chmod`` win over both.
"""

from __future__ import annotations

import os
import stat
import threading
import time

from cais.build import modes
from cais.build.graph import Copy
from cais.build.hashing import kept_attributes, read_error
from cais.build.ops.files import Writer, nothing, set_attribute
from cais.build.ops.owners import find_owner
from cais.build.ops.target import Place, Target
from cais.build.selection import Row, Selection, Source
from cais.build.tree import DIRECTORY, FILE, shown
from cais.errors import CaisError, Invalid, from_os_error
from cais.host.files import cleaned
from cais.host.owners import give
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.build.ops.hard_links import HardLinks
    from cais.build.ops.reuse import Reuse

INLINE_MODE = 0o644
_AT_ONCE = 2


class CopyReport(NamedTuple):
    """What a copy did. ``linked`` files were taken over from an earlier result.

    ``changed``: paths whose files were not any more what the selection's digest is made of: the result is complete,
    and must not be remembered under that digest. ``notes`` are for the user.
    """

    files: int
    size_bytes: int
    linked: int
    changed: tuple[str, ...]
    notes: tuple[str, ...]


def copy(
    op: Copy,
    selection: Selection | None,
    target: Target,
    *,
    modified: int | None = None,
    reuse: Reuse | None = None,
    check: Callable[[], None] = nothing,
) -> CopyReport:
    """Carries out ``op`` in ``target``; ``selection`` is what its sources name (None: all is inline).

    ``modified`` is the time (ns) of what has none of its own: new parents, changed directories, inline files; now by
    default. ``check`` is called now and then: what it raises ends the copying. Raises Invalid for what the rules
    forbid, NotFound, Denied, Failed.
    """
    try:
        copier = _Copier(op, target, modified if modified is not None else time.time_ns(), reuse, check)
        if selection is not None:
            copier.selection(selection)
        for item in op.inline:
            copier.inline(item.name, item.data)
        target.settle(copier.modified)
        return copier.report(selection)
    except OSError as error:
        raise from_os_error(error, f"copy to {shown(op.destination)}")


class _Made(NamedTuple):
    """A directory that gets its source's attributes after its contents are there."""

    path: str
    source: str
    entry: Row
    only_mode: bool  # it was there already, and is only on the way to what is copied


class _Copier:
    def __init__(self, op: Copy, target: Target, modified: int, reuse: Reuse | None, check: Callable[[], None]) -> None:
        self.op = op
        self.target = target
        self.modified = modified
        self.reuse = reuse
        self.notes: list[str] = []
        owner: tuple[int, int] | None = None
        if op.chown:
            found = find_owner(op.chown, target)
            owner = found[:2]
            self.notes.extend(found.notes)
        self.writer = Writer(owner, modes.parse(op.chmod) if op.chmod else None, check)
        self.new_owner = owner or (0, 0)
        self.files = self.size_bytes = self.linked = 0
        self.changed: list[str] = []
        self.lock = threading.Lock()
        self.hard_links: HardLinks | None = None

    def report(self, selection: Selection | None) -> CopyReport:
        notes = [*(selection.notes if selection is not None else ()), *self.notes]
        changed = [*(selection.changed if selection is not None else ()), *self.changed]
        return CopyReport(self.files, self.size_bytes, self.linked, tuple(dict.fromkeys(changed)), tuple(notes))

    def inline(self, name: str, data: bytes) -> None:
        path = self._file_destination(name)
        self._in_place(path, lambda place, last: self.writer.data(place, last, path, data, INLINE_MODE, self.modified))
        self.files += 1
        self.size_bytes += len(data)

    def selection(self, selection: Selection) -> None:
        if self.reuse is not None:
            self.reuse.prepare(selection)
        if selection.links:
            from cais.build.ops.hard_links import HardLinks

            self.hard_links = HardLinks(selection)
        for source in selection.sources:
            if source.is_directory:
                self._directory(selection, source)
            elif not (self.op.unpack and self._unpacked(selection, source)):
                self._single(selection, source)

    def _unpacked(self, selection: Selection, source: Source) -> bool:
        from cais.build.ops.archive import unpack

        if not stat.S_ISREG(source.entry.mode):
            return False
        try:
            file = selection.tree.open_file(source.path, FILE)
        except OSError as error:
            raise read_error(error, source.path)
        try:
            return unpack(
                file,
                source.path,
                self.target,
                lambda: self._make_directories(self.op.destination),
                self.writer,
                self.notes,
            )
        finally:
            os.close(file)

    def _single(self, selection: Selection, source: Source) -> None:
        """A file, FIFO or device that was named itself."""
        path = self._file_destination(source.name)
        self._one(selection, source.path, (os.path.basename(source.path), *source.entry[1:]), path)

    def _file_destination(self, name: str) -> str:
        """Where a file called ``name`` goes; its directory is there then."""
        destination = self.op.destination
        if destination.endswith(("/", "/.")) or not destination:
            self._make_directories(destination)
        else:
            self._make_directories(destination.rpartition("/")[0])
        resolved = self.target.resolve(cleaned(destination))
        if resolved.status is not None and stat.S_ISDIR(resolved.status.st_mode):
            return f"{resolved.path}/{name}" if resolved.path else name
        parent = resolved.path.rpartition("/")[0]
        if parent:
            self._make_directories(parent)  # a dangling link may point to where nothing is yet
        return resolved.path

    def _make_directories(self, path: str) -> str:
        return self.target.make_directories(cleaned(path), self.new_owner).path

    def _in_place(self, path: str, action: Callable[[Place, str], None]) -> None:
        directory, _, name = path.rpartition("/")
        place = self.target.place(directory)
        try:
            action(place, name)
        finally:
            place.close()

    def _directory(self, selection: Selection, source: Source) -> None:
        destination = cleaned(self.op.destination)
        resolved = self.target.resolve(destination)
        if resolved.status is not None and not stat.S_ISDIR(resolved.status.st_mode):
            raise Invalid(f"cannot copy to non-directory: {shown('/' + resolved.path)}")
        root = resolved.path
        fresh = resolved.status is None
        if fresh:
            root = self._make_directories(destination)
        made: list[_Made] = []
        jobs: list[tuple[int, str]] = []
        waiting: dict[str, tuple[Row, bool]] = {}
        start = len(source.path) + 1 if source.path else 0
        for number in range(source.first, source.end):
            directory = selection.directories[number]
            below = directory.path[start:]
            path = "/".join(filter(None, (root, below)))
            new = fresh
            if number != source.first:
                entry, parent_new = waiting.pop(directory.path)
                new = self._new_directory(path, parent_new)
                made.append(_Made(path, directory.path, entry, not new and directory.path in selection.leading))
            entries = directory.entries()
            for entry in entries:
                if entry[1] & 0o170000 == 0o040000:
                    waiting["/".join(filter(None, (directory.path, entry[0])))] = (entry, new)
            if len(entries):
                jobs.append((number, path))
        from cais.host.workers import for_each

        for_each(jobs, lambda job: self._files_of(selection, source, *job), _AT_ONCE)
        if self.hard_links is not None:
            self.files += self.hard_links.make(source, root, self._one, self.target)
        for item in reversed(made):
            self._finish_directory(selection, item)

    def _new_directory(self, path: str, parent_is_new: bool) -> bool:
        """Makes ``path``, for now open to its owner only; False where a directory is there already."""
        directory, _, name = path.rpartition("/")
        place = self.target.place(directory)
        try:
            status = None if parent_is_new else place.status(name)
            if status is None:
                os.mkdir(name, 0o700, dir_fd=place.descriptor)
                return True
            if not stat.S_ISDIR(status.st_mode):
                raise Invalid(f"cannot copy to non-directory: {shown('/' + path)}")
            self.target.place(path).close()  # in a layer: made there, to get its source's attributes
            return False
        finally:
            place.close()

    def _finish_directory(self, selection: Selection, made: _Made) -> None:
        _, mode, _, modified, _, _, owner, _ = made.entry
        descriptor = self.target.open(made.path, DIRECTORY)
        try:
            if made.only_mode:
                os.fchmod(descriptor, mode & 0o7777)
                return
            if self.writer.privileged:
                give(descriptor, *(self.writer.owner or (owner & 0xFFFFFFFF, owner >> 32)))
            os.fchmod(descriptor, self.writer.mode_of(mode, directory=True))
            try:
                source = selection.tree.open(made.source, DIRECTORY)
            except OSError as error:
                raise read_error(error, made.source)
            try:
                for name, value in kept_attributes(source):
                    set_attribute(descriptor, name, value)
            finally:
                os.close(source)
            os.utime(descriptor, ns=(modified, modified))
            self.target.has_its_time(made.path)
        finally:
            os.close(descriptor)

    def _files_of(self, selection: Selection, source: Source, number: int, path: str) -> None:
        """All but the directories of one directory."""
        self.writer.check()
        directory = selection.directories[number]
        entries = [entry for entry in directory.entries() if entry[1] & 0o170000 != 0o040000]
        if not entries:
            return
        later = self.hard_links.later.get(directory.path, ()) if self.hard_links is not None else ()
        try:
            descriptor = selection.tree.open(directory.path, DIRECTORY)
        except OSError as error:
            raise read_error(error, directory.path)
        try:
            place = self.target.place(path)
            try:
                if self.reuse is not None:
                    entries = self._reused(selection, number, entries, place, path)
                prefix = f"{path}/" if path else ""
                files = size_bytes = 0
                for entry in entries:
                    name = entry[0]
                    if name not in later:
                        size_bytes += self._entry(descriptor, directory.path, entry, place, name, prefix + name)
                        files += 1
                self._count(files, size_bytes)
            finally:
                place.close()
        finally:
            os.close(descriptor)

    def _reused(self, selection: Selection, number: int, entries: list[Row], place: Place, path: str) -> list[Row]:
        """Links what the earlier result has; returns what is left to be copied."""
        if self.reuse is None:
            return entries
        left = self.reuse.link(selection, number, entries, place, path, self.writer)
        self._count(len(entries) - len(left), 0, len(entries) - len(left))
        return left

    def _count(self, files: int, size_bytes: int, linked: int = 0) -> None:
        with self.lock:
            self.files += files
            self.size_bytes += size_bytes
            self.linked += linked

    def _one(self, selection: Selection, path: str, entry: Row, target: str) -> None:
        """Copies ``path``, that is no directory, to ``target``, whose directory is there."""
        directory = path.rpartition("/")[0]
        try:
            descriptor = selection.tree.open(directory, DIRECTORY)
        except OSError as error:
            raise read_error(error, directory)
        try:
            self._in_place(
                target,
                lambda place, last: self._count(1, self._entry(descriptor, directory, entry, place, last, target)),
            )
        finally:
            os.close(descriptor)

    def _entry(self, descriptor: int, directory: str, entry: Row, place: Place, name: str, path: str) -> int:
        """Copies one entry that is no directory to ``name`` in ``place``; returns its size."""
        source_name, mode, size, modified, changed, inode, owner, _ = entry
        wanted = self.writer.owner or (owner & 0xFFFFFFFF, owner >> 32)
        try:
            if mode & 0o170000 != 0o100000:
                self.writer.other(place, name, path, descriptor, source_name, mode, size, wanted, modified)
                return 0
            file = os.open(source_name, FILE, dir_fd=descriptor)
        except OSError as error:
            raise _source_error(error, directory, source_name, path)
        try:
            status = os.fstat(file)
            if status.st_ctime_ns != changed or status.st_ino != inode or status.st_mtime_ns != modified:
                self._note_change(directory, source_name, status)
                mode, size, modified = status.st_mode, status.st_size, status.st_mtime_ns
            return self.writer.file(place, name, path, file, size, mode, wanted, modified)
        finally:
            os.close(file)

    def _note_change(self, directory: str, name: str, status: os.stat_result) -> None:
        path = f"{directory}/{name}" if directory else name
        if not stat.S_ISREG(status.st_mode):
            raise read_error(FileNotFoundError(2, "", path), path)
        self.changed.append(path)


def _source_error(error: OSError, directory: str, name: str, path: str) -> CaisError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return from_os_error(error, f"write {shown('/' + path)}")
    return read_error(error, f"{directory}/{name}" if directory else name)
