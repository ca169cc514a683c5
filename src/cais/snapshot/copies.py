"""The copies driver: a snapshot is a full copy of its tree. Slow and large, and works on any file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

from cais.host.files import remove_tree
from cais.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.snapshot.apply import Applied
    from cais.snapshot.changes import Change


class Copies:
    name = "copies"
    opaque = ""

    def create(self, directory: str, parents: Sequence[str]) -> None:
        tree = os.path.join(directory, "fs")
        if parents:
            copy_tree(os.path.join(parents[0], "fs"), tree)
        else:
            os.mkdir(tree, 0o755)
            os.chmod(tree, 0o755)

    def mounts(self, directory: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return (Mount("bind", os.path.join(directory, "fs"), options=("rbind", "rw")),)

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return (Mount("bind", os.path.join(parents[0], "fs"), options=("rbind", "ro")),)

    def changes(
        self, directory: str, parents: Sequence[str], note: Callable[[str], None] | None = None
    ) -> Iterator[Change]:
        from cais.snapshot.changes import tree_changes

        old = os.path.join(parents[0], "fs") if parents else None
        return tree_changes(old, os.path.join(directory, "fs"), note)

    def unpack(self, directory: str, parents: Sequence[str], pieces: Iterator[bytes], *, owners: bool) -> Applied:
        from cais.snapshot.apply import apply

        self.create(directory, parents)
        return apply(pieces, os.path.join(directory, "fs"), style="merged", owners=owners)

    def finish(self, directory: str) -> None:
        pass


def copy_tree(source: str, target: str) -> None:
    """Copies a tree with owners, modes, times, xattrs and hard links; what may not be copied (a device) is left out.

    ``target`` is not there yet.
    """
    os.mkdir(target, 0o700)
    copy_into(source, target)


def copy_into(source: str, target: str) -> None:
    """``copy_tree`` into a directory that is there; what stands in the way of a file there is replaced."""
    links: dict[tuple[int, int], str] = {}
    directories: list[tuple[str, str]] = []
    pending = [(source, target)]
    while pending:
        old, new = pending.pop()
        if not os.path.isdir(new) or os.path.islink(new):
            if os.path.lexists(new):
                os.unlink(new)
            os.mkdir(new, 0o700)
        directories.append((old, new))
        with os.scandir(old) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                path = os.path.join(new, entry.name)
                if stat.S_ISDIR(status.st_mode):
                    pending.append((entry.path, path))
                    continue
                if os.path.lexists(path):
                    remove_tree(path)
                first = links.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
                if first != path:
                    os.link(first, path, follow_symlinks=False)
                elif _copy_entry(entry.path, path, status):
                    _copy_metadata(entry.path, path, status)
    for old, new in reversed(directories):
        _copy_metadata(old, new, os.lstat(old))


def _copy_entry(old: str, new: str, status: os.stat_result) -> bool:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        _copy_file(old, new, status.st_size)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(old), new)
    elif kind == stat.S_IFSOCK:
        return False
    else:
        try:
            os.mknod(new, status.st_mode, status.st_rdev)
        except PermissionError:
            return False
    return True


def _copy_file(old: str, new: str, size_bytes: int) -> None:
    reader = os.open(old, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            left = size_bytes
            while left and (done := os.copy_file_range(reader, writer, left)):
                left -= done
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_metadata(old: str, new: str, status: os.stat_result) -> None:
    try:
        os.chown(new, status.st_uid, status.st_gid, follow_symlinks=False)
    except PermissionError:
        pass  # one user alone cannot give files away; the owner is lost, as it was when the layer was unpacked
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(new, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(old, follow_symlinks=False):
        try:
            os.setxattr(new, name, os.getxattr(old, name, follow_symlinks=False), follow_symlinks=False)
        except OSError:
            pass  # security.* and trusted.* are not everyone's to set
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
