"""Changes: what a layer does to the tree below it, as values in one order, whatever the file system's order is.

The order is that of a walk: a directory, then what is in it by the bytes of the names. A directory that is opaque (it
hides what is below it) says so before its entries. Unchanged directories above a change come too, as other builders
write them: overlayfs has them in its upper directory anyway.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from cais.errors import Unsupported
from cais.host import xattrs
from cais.host.beneath import Beneath
from cais.spec.named import NamedTuple

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}
# What is not there any more, or something else by now.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
_COMPARED_BYTES = 1 << 20
_PATH_BYTES = 4000  # PATH_MAX is 4096

Note = Callable[[str], None]


class Change(NamedTuple):
    """``path`` is relative to the layer's root. ``kind``: as in a tar entry, or "whiteout" (it is deleted below) or
    "opaque" (what is below in this directory is hidden). ``link``: of "hardlink", the earlier path. ``status`` is None
    for deletions only."""

    path: bytes
    kind: str
    status: os.stat_result | None = None
    link: bytes = b""

    @property
    def newest(self) -> int:
        """Modification time in whole seconds; 0 for a deletion."""
        return 0 if self.status is None else self.status.st_mtime_ns // 1_000_000_000


class _Links:
    """Hard links among the changes: the first path of each inode that has several."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], bytes] = {}

    def change(self, path: bytes, kind: str, status: os.stat_result) -> Change:
        if status.st_nlink > 1 and kind != "directory":
            first = self._first.setdefault((status.st_dev, status.st_ino), path)
            if first is not path:
                return Change(path, "hardlink", status, first)
        return Change(path, kind, status)


def overlay_changes(
    upper: str,
    lower: Sequence[bytes],
    prefix: bytes,
    note: Note | None = None,
) -> Iterator[Change]:
    """What an overlayfs ``upper`` directory says about the layers ``lower`` (such directories too, topmost first).

    A deletion is a character device 0:0, or an empty file with the attribute ``<prefix>whiteout``. The kernel marks new
    directories as opaque too, to save itself look-ups: only those that hide something are reported. ``prefix`` is
    b"trusted.overlay." or b"user.overlay.". Raises Unsupported for renamed directories and files without their data.
    """
    names = _Marks(prefix)
    links = _Links()
    with Beneath(upper) as tree:
        # (directory, its entries backwards, what of the layers below shows through)
        pending = [(b"", _backwards(tree.fd(b"")), _Below([(root, b"") for root in lower], names))]
        while pending:
            directory, entries, below = pending[-1]
            if not entries:
                pending.pop()
                continue
            name = entries.pop()
            path = directory + b"/" + name if directory else name
            status = os.stat(name, dir_fd=tree.fd(directory), follow_symlinks=False)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            if kind == "directory":
                fd = tree.fd(path)
                opaque = names.opaque(fd, path)
                inside = below.inside(name)
                hides = opaque and inside.shows()
                yield Change(path, kind, status)
                if hides:
                    yield Change(path, "opaque")
                if opaque:
                    inside = _Below((), names)
                pending.append((path, _backwards(fd), inside))
            elif (kind == "char" and status.st_rdev == 0) or (
                kind == "file" and not status.st_size and names.is_whiteout(tree.path(directory, name))
            ):
                yield Change(path, "whiteout")
            elif kind is None:
                _skip(path, note)
            else:
                yield links.change(path, kind, status)


def tree_changes(old: str | None, new: str, note: Note | None = None) -> Iterator[Change]:
    """What makes the tree ``old`` (None: an empty one) into ``new``: they are compared entry by entry.

    Equal is what has the same kind, mode, owner, attributes and, but for directories, size, time and content. Content
    is read only where everything else is the same and the inodes are not.
    """
    links = _Links()
    before = Beneath(old) if old is not None else None
    try:
        with Beneath(new) as tree:
            pending = [_Pair(b"", None, _merged(before, tree, b""), before)]
            while pending:
                pair = pending[-1]
                if not pair.entries:
                    pending.pop()
                    continue
                name = pair.entries.pop()
                path = pair.path + b"/" + name if pair.path else name
                was = _status(pair.before, pair.path, name)
                status = _status(tree, pair.path, name)
                if status is None:
                    changes = [Change(path, "whiteout")]
                else:
                    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
                    if kind is None:
                        _skip(path, note)
                        if was is None or stat.S_IFMT(was.st_mode) == stat.S_IFMT(status.st_mode):
                            continue
                        changes = [Change(path, "whiteout")]
                    elif kind == "directory":
                        both = was is not None and stat.S_ISDIR(was.st_mode)
                        same = was is not None and both and _same(pair.before, tree, pair.path, name, was, status)
                        inside = pair.before if both else None
                        change = Change(path, kind, status)
                        pending.append(_Pair(path, change, _merged(inside, tree, path), inside))
                        if same:
                            continue
                        changes = []
                    elif was is not None and _same(pair.before, tree, pair.path, name, was, status):
                        continue
                    else:
                        changes = [links.change(path, kind, status)]
                for above in pending:
                    if above.change is not None:
                        yield above.change
                        above.change = None
                yield from changes
    finally:
        if before is not None:
            before.close()


def tree_in_use(root: str, skip: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Change]:
    """The directory ``root`` itself (its path is b"") and all that is in it, while others change it: what goes away
    meanwhile is left out, and so are sockets. ``skip``: directories, by (device, inode), whose entries are."""
    links = _Links()
    with Beneath(root) as tree:
        yield Change(b"", "directory", os.fstat(tree.root_fd))
        pending = [(b"", _backwards(tree.root_fd))]
        while pending:
            directory, entries = pending[-1]
            if not entries:
                pending.pop()
                continue
            name = entries.pop()
            path = directory + b"/" + name if directory else name
            try:
                status = os.stat(name, dir_fd=tree.fd(directory), follow_symlinks=False)
                kind = _KINDS.get(stat.S_IFMT(status.st_mode))
                if kind == "directory":
                    inside = [] if (status.st_dev, status.st_ino) in skip else _backwards(tree.fd(path))
                    pending.append((path, inside))
            except OSError as error:
                if error.errno not in GONE:
                    raise
                continue
            if kind is not None:
                yield links.change(path, kind, status)


def clamp_times(root: str, epoch: int) -> None:
    """Modification times newer than ``epoch`` (seconds since 1970) become that, in the whole tree and for its root."""
    limit = epoch * 1_000_000_000
    with Beneath(root) as tree:
        pending = [b""]
        while pending:
            directory = pending.pop()
            fd = tree.fd(directory)
            with os.scandir(fd) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        name = os.fsencode(entry.name)
                        pending.append(directory + b"/" + name if directory else name)
                    elif status.st_mtime_ns > limit:
                        os.utime(entry.name, ns=(limit, limit), dir_fd=fd, follow_symlinks=False)
            if os.stat(fd).st_mtime_ns > limit:
                os.utime(fd, ns=(limit, limit))


class _Marks:
    """The attributes by which overlayfs marks things, under its prefix."""

    def __init__(self, prefix: bytes) -> None:
        start = prefix.decode()
        self._opaque = start + "opaque"
        self._whiteout = start + "whiteout"
        self._redirect = start + "redirect"

    def opaque(self, where: int | bytes, path: bytes) -> bool:
        names = xattrs.listed(where)
        if self._redirect in names:
            raise Unsupported(
                f"the directory {os.fsdecode(path)!r} was renamed as no layer can hold it (overlayfs redirect_dir)",
                hint="Mount the layers with redirect_dir=off.",
            )
        return self._opaque in names and xattrs.value(where, self._opaque) == b"y"

    def is_whiteout(self, path: bytes) -> bool:
        return self._whiteout in xattrs.listed(path)


class _Below:
    """A directory in the layers below: which of them take part in it. Looked up when it is asked for first."""

    __slots__ = ("_above", "_layers", "_marks", "_name")

    def __init__(
        self,
        layers: Sequence[tuple[bytes, bytes]] | None,
        marks: _Marks,
        above: _Below | None = None,
        name: bytes = b"",
    ) -> None:
        self._layers = layers
        self._marks = marks
        self._above = above
        self._name = name

    def inside(self, name: bytes) -> _Below:
        return self if self._layers == () else _Below(None, self._marks, self, name)

    def shows(self) -> bool:
        return bool(self._found())

    def _found(self) -> Sequence[tuple[bytes, bytes]]:
        # Asked from the top down: a directory's parents were not asked where they are not opaque.
        unknown = []
        at = self
        while at._layers is None and at._above is not None:
            unknown.append(at)
            at = at._above
        layers = at._layers or ()
        for at in reversed(unknown):
            at._layers = layers = self._step(layers, at._name)
        return layers

    def _step(self, layers: Sequence[tuple[bytes, bytes]], name: bytes) -> Sequence[tuple[bytes, bytes]]:
        found = []
        for root, directory in layers:
            path = directory + b"/" + name if directory else name
            if len(root) + len(path) < _PATH_BYTES:
                at = root + b"/" + path
                seen, last = self._look(at, path)
            else:
                with Beneath(root) as tree:
                    seen, last = self._look(tree.path(directory, name), path)
            if seen:
                found.append((root, path))
            if last:
                break
        return tuple(found)

    def _look(self, at: bytes, path: bytes) -> tuple[bool, bool]:
        """Whether the layer has the directory, and whether it hides the layers below it."""
        try:
            status = os.lstat(at)
        except FileNotFoundError:
            return False, False
        if not stat.S_ISDIR(status.st_mode):
            return False, True  # a deletion, or a file in its place
        return True, self._marks.opaque(at, path)


class _Pair:
    """A directory of both trees on its way through ``tree_changes``; ``change`` until it was reported."""

    __slots__ = ("before", "change", "entries", "path")

    def __init__(self, path: bytes, change: Change | None, entries: list[bytes], before: Beneath | None) -> None:
        self.path = path
        self.change = change
        self.entries = entries
        self.before = before


def _backwards(fd: int) -> list[bytes]:
    names = [os.fsencode(name) for name in os.listdir(fd)]
    names.sort(reverse=True)
    return names


def _merged(before: Beneath | None, tree: Beneath, path: bytes) -> list[bytes]:
    names = set(os.listdir(tree.fd(path)))
    if before is not None:
        names.update(os.listdir(before.fd(path)))
    return sorted(map(os.fsencode, names), reverse=True)


def _status(tree: Beneath | None, directory: bytes, name: bytes) -> os.stat_result | None:
    if tree is None:
        return None
    try:
        return os.stat(name, dir_fd=tree.fd(directory), follow_symlinks=False)
    except FileNotFoundError:
        return None


def _skip(path: bytes, note: Note | None) -> None:
    if note is not None:
        note(f"the socket {os.fsdecode(path)!r} is left out: a layer cannot hold one")


def _same(
    before: Beneath | None, tree: Beneath, directory: bytes, name: bytes, was: os.stat_result, status: os.stat_result
) -> bool:
    if before is None or (was.st_mode, was.st_uid, was.st_gid) != (status.st_mode, status.st_uid, status.st_gid):
        return False
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFDIR and (was.st_mtime_ns, was.st_size) != (status.st_mtime_ns, status.st_size):
        return False
    if was.st_ino == status.st_ino and was.st_dev == status.st_dev:
        return True
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        return was.st_rdev == status.st_rdev
    old_path, new_path = before.path(directory, name), tree.path(directory, name)
    if kind == stat.S_IFLNK and os.readlink(old_path) != os.readlink(new_path):
        return False
    old_names, new_names = xattrs.listed(old_path), xattrs.listed(new_path)
    if (old_names or new_names) and xattrs.read(old_path, old_names) != xattrs.read(new_path, new_names):
        return False
    return kind != stat.S_IFREG or not status.st_size or _same_content(before, tree, directory, name)


def _same_content(before: Beneath, tree: Beneath, directory: bytes, name: bytes) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    old = os.open(name, flags, dir_fd=before.fd(directory))
    try:
        new = os.open(name, flags, dir_fd=tree.fd(directory))
        try:
            while True:
                data = os.read(old, _COMPARED_BYTES)
                if data != os.read(new, _COMPARED_BYTES):
                    return False
                if not data:
                    return True
        finally:
            os.close(new)
    finally:
        os.close(old)
