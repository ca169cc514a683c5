"""Applying a layer: its plain tar, streamed into a directory that it cannot leave.

Names are taken apart and every directory is opened by itself, never through a symbolic link as the host sees it: where
a parent is a symbolic link of the tree, it is followed as in a root file system, "/" being the target. What a layer
deletes is done ("merged"), or written as overlayfs has it ("overlay-..."), or is a name like others ("plain", for ADD).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from cais.errors import Denied, Invalid
from cais.host import xattrs
from cais.host.ahead import HashBeside
from cais.host.beneath import Beneath
from cais.host.tar_reader import TarReader
from cais.host.tar_writer import TarEntry
from cais.snapshot.dress import Dresser, failure
from cais.snapshot.rooted import relative, resolved, shown
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

STYLES = {"overlay-trusted": "trusted.overlay.", "overlay-user": "user.overlay.", "merged": "", "plain": ""}
_NOTES_LIMIT = 100
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEVER = 1 << 62


class Applied(NamedTuple):
    """What was applied: ``size_bytes`` of tar whose hash is ``diff_id``, with ``content_bytes`` in its files."""

    entries: int
    size_bytes: int
    content_bytes: int
    diff_id: Digest
    notes: tuple[str, ...]


def apply(
    pieces: Iterator[bytes],
    target: str,
    *,
    style: str,
    owners: bool = True,
    limit_entries: int | None = None,
    limit_bytes: int | None = None,
    change_entry: Callable[[TarEntry], TarEntry | None] | None = None,
    algorithm: str = "sha256",
) -> Applied:
    """Streams an uncompressed tar into the directory ``target``, which exists.

    ``style``: "overlay-trusted" or "overlay-user" (the target is one layer's own directory), "merged" (a full tree) or
    "plain" (a full tree, and nothing is deleted). Without ``owners`` everything belongs to who applies it.
    ``limit_bytes`` is of the tar and of the files' sizes, each. ``change_entry`` may change an entry or leave it out.

    Raises Invalid for what no layer may hold and for what is over a limit, Corrupt for a broken archive, Unavailable
    when the disk is full. What was written until then stays: the caller removes it.
    """
    if style not in STYLES:
        raise Invalid(f"unknown style {style!r}")
    hashed = HashBeside(algorithm)
    with Beneath(target) as tree:
        try:
            writer = _Writer(tree, style, owners, limit_entries or _NEVER, limit_bytes or _NEVER)
            reader = TarReader(_counted(hashed, pieces, limit_bytes or _NEVER))
            for entry in reader:
                changed = entry if change_entry is None else change_entry(entry)
                if changed is not None:
                    writer.write(changed, reader)
            reader.drain()
            writer.finish()
            return Applied(
                writer.entries, hashed.size_bytes, writer.content_bytes, hashed.digest(), tuple(writer.notes)
            )
        finally:
            hashed.close()
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


def _counted(hashed: HashBeside, pieces: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    for piece in pieces:
        hashed.update(piece)
        if hashed.size_bytes > limit_bytes:
            raise _over(limit_bytes)
        yield piece


def _over(limit_bytes: int) -> Invalid:
    return Invalid(f"the layer has more than {limit_bytes} bytes, which is the limit")


class _Writer:
    def __init__(self, tree: Beneath, style: str, owners: bool, limit_entries: int, limit_bytes: int) -> None:
        self.entries = 0
        self.content_bytes = 0
        self.notes: list[str] = []
        self._tree = tree
        self._style = style
        self._overlay = STYLES[style]
        self._owners = owners
        self._limit_entries = limit_entries
        self._limit_bytes = limit_bytes
        self._ids = (os.geteuid(), os.getegid())
        self._dresser = Dresser(tree, owners, self._note)
        self._directories: dict[bytes, tuple[int, int]] = {}  # path: (mtime, mode or -1), set at the end
        self._written: set[bytes] | None = set() if style == "merged" else None
        self._mtime = 0  # of the entry that is being written

    def write(self, entry: TarEntry, reader: TarReader) -> None:
        self.entries += 1
        if self.entries > self._limit_entries:
            raise Invalid(f"the layer has more than {self._limit_entries} entries, which is the limit")
        path = relative(entry.name, entry.name)
        if not -_NEVER < entry.mtime < _NEVER:
            raise Invalid(f"the archive's entry {shown(entry.name)} has the impossible time {entry.mtime}")
        try:
            self._write(entry, path, reader)
        except OSError as error:
            raise failure(error, entry.name)

    def _write(self, entry: TarEntry, path: bytes, reader: TarReader) -> None:
        kind = entry.kind
        if not path:
            if kind != "directory":
                raise Invalid(
                    f"the archive has an entry {shown(entry.name)} that is a {kind}: it is the root directory"
                )
            if self._style != "plain":
                self._dresser.dress(self._tree.root_fd, entry, self._tree.root_fd)
                self._directories[b""] = (entry.mtime, -1)
            return
        self._mtime = entry.mtime
        directory, _, name = path.rpartition(b"/")
        if name.startswith(_WHITEOUT) and self._style != "plain":
            self._delete(directory, name, entry)
            return
        try:
            fd = self._tree.fd(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            directory = self._parent(directory, entry.name)
            path = directory + b"/" + name if directory else name
            fd = self._tree.fd(directory)
        if self._written is not None:
            self._written.add(path)
        if kind == "file":
            self._file(fd, directory, name, entry, reader)
        elif kind == "directory":
            self._directory(fd, directory, name, path, entry)
        elif kind == "hardlink":
            self._link(directory, name, entry)
        elif kind == "symlink":
            if b"\0" in entry.link_target or not entry.link_target:
                raise Invalid(f"the archive's symbolic link {shown(entry.name)} has no usable target")
            self._replacing(fd, directory, name, lambda fd: os.symlink(entry.link_target, name, dir_fd=fd))
            self._dresser.dress_by_name(fd, directory, name, entry)
        else:
            self._node(fd, directory, name, entry)

    # Each kind of entry.

    def _file(self, parent: int, directory: bytes, name: bytes, entry: TarEntry, reader: TarReader) -> None:
        size = entry.size_bytes
        self.content_bytes += size
        if self.content_bytes > self._limit_bytes:
            raise _over(self._limit_bytes)
        mode = self._first_mode(entry)
        try:
            fd = os.open(name, _CREATE, mode, dir_fd=parent)
        except FileExistsError:
            self._tree.remove(directory, name)
            fd = os.open(name, _CREATE, mode, dir_fd=self._tree.fd(directory))
        try:
            if size:
                data = reader.whole()
                if data is not None:
                    if os.write(fd, data) != size:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                else:
                    _write_content(fd, size, reader)
            self._dresser.dress(fd, entry, fd)
            os.utime(fd, ns=(entry.mtime * 1_000_000_000, entry.mtime * 1_000_000_000))
        finally:
            os.close(fd)

    def _directory(self, parent: int, directory: bytes, name: bytes, path: bytes, entry: TarEntry) -> None:
        hides = False
        try:
            os.mkdir(name, self._first_mode(entry) | 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                hides = self._is_deletion(status)
                self._tree.remove(directory, name)
                os.mkdir(name, 0o700, dir_fd=self._tree.fd(directory))
        fd = self._tree.fd(path)
        if hides:
            self._set_opaque(fd)
        late = entry.mode & 0o700 != 0o700
        self._dresser.dress(fd, entry._replace(mode=entry.mode | 0o700) if late else entry, fd)
        self._directories[path] = (entry.mtime, entry.mode if late else -1)

    def _link(self, directory: bytes, name: bytes, entry: TarEntry) -> None:
        target = relative(entry.link_target, entry.name)
        above, _, last = target.rpartition(b"/")
        missing = Invalid(
            f"the archive's hard link {shown(entry.name)} points at {shown(entry.link_target)}, which is not there"
        )
        if not last:
            raise missing
        try:
            above = resolved(self._tree, above, entry.name, None)
            if (above, last) == (directory, name):
                raise Invalid(f"the archive's hard link {shown(entry.name)} points at itself")
            status = os.stat(last, dir_fd=self._tree.fd(above), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise missing
        if stat.S_ISDIR(status.st_mode):
            raise Invalid(f"the archive's hard link {shown(entry.name)} points at the directory {shown(target)}")

        def make(fd: int) -> None:
            # The descriptor of one directory may be closed by asking for the other: held while both are needed.
            source = os.dup(self._tree.fd(above))
            try:
                os.link(last, name, src_dir_fd=source, dst_dir_fd=self._tree.fd(directory), follow_symlinks=False)
            finally:
                os.close(source)

        try:
            self._replacing(-1, directory, name, make)
        except FileNotFoundError:
            raise missing

    def _node(self, parent: int, directory: bytes, name: bytes, entry: TarEntry) -> None:
        if entry.kind == "fifo":
            mode, device = stat.S_IFIFO | 0o600, 0
        else:
            major, minor = entry.device
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise Invalid(f"the archive's device {shown(entry.name)} has the impossible number {major}:{minor}")
            device = os.makedev(major, minor)
            if not device and entry.kind == "char":
                raise Invalid(
                    f"the archive's device {shown(entry.name)} has the number 0:0: overlayfs marks deletions so"
                )
            mode = (stat.S_IFCHR if entry.kind == "char" else stat.S_IFBLK) | 0o600
        try:
            self._replacing(parent, directory, name, lambda fd: os.mknod(name, mode, device, dir_fd=fd))
        except PermissionError:
            self._note(f"the device {shown(entry.name)} was left out: this user may not make devices")
            return
        self._dresser.dress_by_name(self._tree.fd(directory), directory, name, entry)

    def _delete(self, directory: bytes, name: bytes, entry: TarEntry) -> None:
        if name == _OPAQUE:
            directory = self._parent(directory, entry.name)
            if self._overlay:
                self._set_opaque(self._tree.fd(directory))
            else:
                self._empty(directory)
            return
        if name.startswith(_AUFS):
            self._note(f"{shown(entry.name)} was left out: it is of AUFS itself")
            return
        victim = name[len(_WHITEOUT) :]
        if victim in (b"", b".", b".."):
            raise Invalid(f"the archive's entry {shown(entry.name)} deletes no possible name")
        if not self._overlay:
            try:
                directory = resolved(self._tree, directory, entry.name, None)
            except (FileNotFoundError, NotADirectoryError):
                return
            path = directory + b"/" + victim if directory else victim
            if self._written is None or path not in self._written:
                self._tree.remove(directory, victim)
            else:
                self._empty(path)
            return
        directory = self._parent(directory, entry.name)
        fd = self._tree.fd(directory)
        try:
            os.mknod(victim, stat.S_IFCHR, 0, dir_fd=fd)
        except FileExistsError:
            # A deletion is of what is below this layer: what the layer itself brings stays, and hides what is below.
            path = directory + b"/" + victim if directory else victim
            if stat.S_ISDIR(os.stat(victim, dir_fd=fd, follow_symlinks=False).st_mode):
                self._set_opaque(self._tree.fd(path))

    def finish(self) -> None:
        """Directories' times, and the modes that would have been in the way; the deepest first."""
        for path in sorted(self._directories, reverse=True):
            mtime, mode = self._directories[path]
            try:
                fd = self._tree.fd(path)
                if mode >= 0:
                    os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime * 1_000_000_000, mtime * 1_000_000_000))
            except (FileNotFoundError, NotADirectoryError):
                continue  # a later entry took its place
            except OSError as error:
                if error.errno == errno.ELOOP:
                    continue
                raise failure(error, path)

    # What they share.

    def _first_mode(self, entry: TarEntry) -> int:
        """Until its owner is right nobody else may open it: the content may be secret, the mode may be setuid."""
        return entry.mode & (0o777 if not self._owners or (entry.uid, entry.gid) == self._ids else 0o700)

    def _replacing(self, parent: int, directory: bytes, name: bytes, make: Callable[[int], None]) -> None:
        try:
            make(parent)
        except FileExistsError:
            self._tree.remove(directory, name)
            make(self._tree.fd(directory))

    def _set_opaque(self, fd: int) -> None:
        name = self._overlay + "opaque"
        if not xattrs.write(fd, name.encode(), b"y"):
            raise Denied(
                f"cannot set the attribute {name!r}, which overlayfs needs", hint="Use another snapshot driver."
            )

    def _is_deletion(self, status: os.stat_result) -> bool:
        return bool(self._overlay) and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def _empty(self, directory: bytes) -> None:
        """Removes what this layer did not write in a directory."""
        written = self._written
        pending = [directory]
        above = set()
        for path in written or ():
            while (path := path.rpartition(b"/")[0]) and path not in above:
                above.add(path)
        while pending:
            at = pending.pop()
            try:
                names = os.listdir(self._tree.fd(at))
            except NotADirectoryError:
                continue
            for name in map(os.fsencode, names):
                path = at + b"/" + name if at else name
                if written is not None and (path in written or path in above):
                    pending.append(path)
                else:
                    self._tree.remove(at, name)

    def _note(self, text: str) -> None:
        if len(self.notes) < _NOTES_LIMIT:
            self.notes.append(text)

    def _parent(self, directory: bytes, name: bytes) -> bytes:
        """The directory without symbolic links on the way, made where it is not there."""
        return resolved(self._tree, directory, name, self._imply)

    def _imply(self, directory: bytes, name: bytes, status: os.stat_result | None) -> None:
        """A directory that has no entry (yet): root's, 0755, with the time of the entry that needs it.

        ``status``: of what is there and is none. The last entry wins, so that it makes room.
        """
        path = directory + b"/" + name if directory else name
        hides = status is not None and self._is_deletion(status)
        if status is not None:
            self._tree.remove(directory, name)
        os.mkdir(name, 0o755, dir_fd=self._tree.fd(directory))
        fd = self._tree.fd(path)
        self._dresser.dress(fd, TarEntry(path, "directory", 0o755), fd)
        if hides:
            self._set_opaque(fd)
        self._directories[path] = (self._mtime, -1)
        if self._written is not None:
            self._written.add(path)


def _write_content(fd: int, size: int, reader: TarReader) -> None:
    end = 0
    for offset, data in reader.extents():
        while data:
            done = os.pwrite(fd, data, offset)
            offset += done
            data = data[done:]
        end = offset
    if end != size:
        os.ftruncate(fd, size)
