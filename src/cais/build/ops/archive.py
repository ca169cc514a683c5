"""ADD of local archives: what is one by its content (not its name) is unpacked into the destination directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from cais.build.ops.files import Writer, set_attribute
from cais.build.ops.target import LayerTarget, Place, Target
from cais.build.tree import DIRECTORY, shown
from cais.errors import CaisError, Corrupt, Invalid, Unsupported
from cais.host.compression import decompressed
from cais.host.files import remove_tree
from cais.host.owners import give
from cais.host.tar_reader import TarReader
from cais.host.tar_writer import TarEntry

# What may come out of one archive: beyond it, it is taken for a bomb.
LIMIT_BYTES = 64 << 30
_PIECE_BYTES = 1 << 20
_NEVER = 1 << 62  # seconds
_NO_ID = (1 << 32) - 1
_KINDS = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}


def unpack(
    file: int,
    path: str,
    target: Target,
    make_destination: Callable[[], str],
    writer: Writer,
    notes: list[str],
) -> bool:
    """Unpacks the open ``file`` (``path``, for messages) into what ``make_destination`` makes; False when it is no tar.

    Plain, gzip, bzip2, xz or zstd. Owners, modes and times are the archive's: as with BuildKit, ``--chown`` and
    ``--chmod`` are for the destination that is made. Nothing leads out of the destination: ``..`` stops there, and
    links are followed inside. Raises Corrupt for a broken archive, Invalid for what cannot be there.
    """
    pieces = decompressed(_pieces(file), limit_bytes=LIMIT_BYTES)
    entries = iter(TarReader(pieces))
    try:
        try:
            first = next(entries, None)
        except (Corrupt, Unsupported, Invalid):
            return False
        if first is None:
            return False
        root = make_destination()
        work = _Unpacking(target, root, writer, notes)
        try:
            work.entry(first)
            for entry in entries:
                writer.check()
                work.entry(entry)
            work.finish()
        except CaisError as error:
            error.message = f"cannot unpack {shown('/' + path)}: {error.message}"
            raise
        return True
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _pieces(file: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(file, _PIECE_BYTES, offset):
        offset += len(piece)
        yield piece


class _Unpacking:
    def __init__(
        self,
        target: Target,
        root: str,
        writer: Writer,
        notes: list[str],
    ) -> None:
        self.target = target
        self.root = root
        self.writer = writer
        self.notes = notes
        self.directories: dict[str, TarEntry] = {}
        self.skipped = 0

    def entry(self, entry: TarEntry) -> None:
        name = os.fsdecode(entry.name)
        parts = self._parts(name)
        if not parts and not (name.startswith("/") and entry.kind == "directory"):
            return
        if not -_NEVER < entry.mtime < _NEVER:
            raise Invalid(f"the entry {shown(name)} has the impossible time {entry.mtime}")
        if not (0 <= entry.uid < _NO_ID and 0 <= entry.gid < _NO_ID):
            raise Invalid(f"the entry {shown(name)} is of {entry.uid}:{entry.gid}: there are no such ids")
        if not parts:
            # As at Docker: "/" is the destination itself, while "./" says nothing of it.
            if self.root:
                self.target.place(self.root).close()
            self.directories[self.root] = entry
            return
        directory = "/".join(parts[:-1])
        parent = self.target.resolve(directory, base=self.root)
        if parent.status is None:
            path = self.target.make_directories(parent.path, (0, 0)).path
        else:
            path = parent.path
            if not stat.S_ISDIR(parent.status.st_mode):
                raise Invalid(f"the entry {shown(name)} goes through {shown('/' + path)}, which is not a directory")
        full = f"{path}/{parts[-1]}" if path else parts[-1]
        place = self.target.place(path)
        try:
            self._put(entry, name, place, parts[-1], full)
        finally:
            place.close()

    @staticmethod
    def _parts(name: str) -> list[str]:
        parts: list[str] = []
        for part in name.split("/"):
            if part == "..":
                del parts[-1:]  # as where the destination is the root
            elif part not in ("", "."):
                parts.append(part)
        return parts

    def _put(self, entry: TarEntry, name: str, place: Place, last: str, path: str) -> None:
        there = place.status(last)
        replaced = False
        if there is not None:
            if stat.S_ISDIR(there.st_mode) and entry.kind == "directory":
                self.target.place(path).close()  # in a layer: made there, to get the entry's attributes
                self.directories[path] = entry
                return
            replaced = True
            self.directories = {
                key: value for key, value in self.directories.items() if key != path and not key.startswith(f"{path}/")
            }
            remove_tree(f"/proc/self/fd/{place.descriptor}/{last}")
        mode = entry.mode & 0o7777
        if entry.kind == "directory":
            os.mkdir(last, 0o700, dir_fd=place.descriptor)
            if replaced and isinstance(self.target, LayerTarget):
                self.target.hide_below(path)
            self.directories[path] = entry
        elif entry.kind == "file":
            self._file(entry, place, last, mode)
        elif entry.kind == "symlink":
            os.symlink(entry.link_target, os.fsencode(last), dir_fd=place.descriptor)
            self._attributes(entry, place, last, None)
        elif entry.kind == "hardlink":
            self._hard_link(entry, name, place, last)
        else:
            self._special(entry, name, place, last, mode)

    def _file(self, entry: TarEntry, place: Place, last: str, mode: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(last, flags, 0o600, dir_fd=place.descriptor)
        try:
            if entry.source is not None:
                for offset, data in entry.source.extents():
                    view = memoryview(data)
                    while view:
                        count = os.pwrite(file, view, offset)
                        offset += count
                        view = view[count:]
            os.ftruncate(file, entry.size_bytes)
            self._open_attributes(file, entry, mode)
        finally:
            os.close(file)

    def _open_attributes(self, file: int, entry: TarEntry, mode: int) -> None:
        if self.writer.privileged:
            give(file, entry.uid, entry.gid)
        os.fchmod(file, mode)
        for key, value in entry.xattrs.items():
            text = os.fsdecode(key)
            if text == "security.capability" or (text.startswith("user.") and not text.startswith("user.overlay.")):
                set_attribute(file, text, value)
        os.utime(file, ns=(entry.mtime * 10**9, entry.mtime * 10**9))

    def _attributes(self, entry: TarEntry, place: Place, last: str, mode: int | None) -> None:
        there = place.descriptor
        if self.writer.privileged:
            give(last, entry.uid, entry.gid, directory=there)
        if mode is not None:
            os.chmod(last, mode, dir_fd=there)
        os.utime(last, ns=(entry.mtime * 10**9, entry.mtime * 10**9), dir_fd=there, follow_symlinks=False)

    def _hard_link(self, entry: TarEntry, name: str, place: Place, last: str) -> None:
        text = os.fsdecode(entry.link_target)
        parts = self._parts(text)
        missing = Invalid(
            f"the entry {shown(name)} is a link of {shown(text)}, which is neither in the archive before it nor there"
        )
        if not parts:
            raise missing
        parent = self.target.resolve("/".join(parts[:-1]), base=self.root)
        if parent.status is None or not stat.S_ISDIR(parent.status.st_mode):
            raise missing
        source = self.target.place(parent.path)
        try:
            if not self.target.bring(source, parts[-1]):
                raise missing
            os.link(parts[-1], last, src_dir_fd=source.descriptor, dst_dir_fd=place.descriptor, follow_symlinks=False)
        finally:
            source.close()
        # As at Docker the file takes what this entry says; where that is the same it is let alone, as a change of the
        # owner would take its capabilities away.
        status = os.stat(last, dir_fd=place.descriptor, follow_symlinks=False)
        mode = entry.mode & 0o7777
        same = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (entry.uid, entry.gid, mode)
        if stat.S_ISREG(status.st_mode) and not (same and int(status.st_mtime) == entry.mtime):
            self._attributes(entry, place, last, mode)

    def _special(self, entry: TarEntry, name: str, place: Place, last: str, mode: int) -> None:
        kind = _KINDS[entry.kind]
        if kind == stat.S_IFCHR and entry.device == (0, 0):
            raise Invalid(f"the entry {shown(name)} is the character device 0:0, which stands for a deleted file")
        try:
            os.mknod(last, kind | 0o600, os.makedev(*entry.device), dir_fd=place.descriptor)
        except PermissionError:
            self.skipped += 1
            if self.skipped == 1:
                self.notes.append(f"the device {shown(name)} was left out: the kernel lets only root make one")
            return
        self._attributes(entry, place, last, mode)

    def finish(self) -> None:
        """Attributes of directories, when nothing changes them any more."""
        for path, entry in reversed(self.directories.items()):
            descriptor = self.target.open(path, DIRECTORY)
            try:
                self._open_attributes(descriptor, entry, entry.mode & 0o7777)
                self.target.has_its_time(path)
            finally:
                os.close(descriptor)
