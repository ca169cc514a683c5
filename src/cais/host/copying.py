"""Copying trees: with owners, modes, times, extended attributes and hard links, by descriptors, following no link."""

from __future__ import annotations

import errno
import os
import stat

from cais.host import syscalls
from cais.host.files import remove_tree, write_all

_PIECE_BYTES = 1 << 20
_RANGE_BYTES = 1 << 30
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_tree(source: str | int, target: str | int, *, replace: bool = False) -> None:
    """Copies what is in the directory ``source`` into the directory ``target``, which takes its attributes, too.

    Sockets are left out, and so is what this user may not make (devices) or give away (owners). ``replace``: what is
    in the way of an entry is removed; without it that is an error. Raises OSError.
    """
    there = os.dup(source) if isinstance(source, int) else os.open(source, _DIRECTORY | os.O_CLOEXEC)
    try:
        here = os.dup(target) if isinstance(target, int) else os.open(target, _DIRECTORY | os.O_CLOEXEC)
        try:
            _Copy(there, here, replace).run()
        finally:
            os.close(here)
    finally:
        os.close(there)


class _Copy:
    def __init__(self, source: int, target: int, replace: bool) -> None:
        self.source = source
        self.target = target
        self.replace = replace
        self.links: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        """Iterative, so that no depth overflows the stack; a directory's attributes last: its entries change them."""
        pending: list[tuple[str, bool]] = [("", False)]
        while pending:
            path, entered = pending.pop()
            there, here = _open(self.source, path), _open(self.target, path)
            try:
                if entered:
                    _copy_attributes(there, here)
                    continue
                pending.append((path, True))
                for name in os.listdir(there):
                    below = f"{path}/{name}" if path else name
                    if self._entry(there, here, name, below):
                        pending.append((below, False))
            finally:
                os.close(there)
                os.close(here)

    def _entry(self, there: int, here: int, name: str, path: str) -> bool:
        """Copies one entry; True for a directory, whose entries follow."""
        status = os.stat(name, dir_fd=there, follow_symlinks=False)
        mode = status.st_mode
        if self.replace and _make_way(here, name, stat.S_ISDIR(mode)):
            return True
        if stat.S_ISDIR(mode):
            os.mkdir(name, 0o700, dir_fd=here)
            return True
        if status.st_nlink > 1:
            first = self.links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                os.link(first, name, src_dir_fd=self.target, dst_dir_fd=here, follow_symlinks=False)
                return False
        if stat.S_ISREG(mode):
            _copy_file(there, here, name)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=there), name, dir_fd=here)
            _finish(here, name, status, with_mode=False)
        elif not stat.S_ISSOCK(mode):
            try:
                os.mknod(name, mode, status.st_rdev, dir_fd=here)
            except PermissionError:
                return False
            _finish(here, name, status, with_mode=True)
        return False


def _open(root: int, path: str) -> int:
    if not path:
        return os.dup(root)
    return syscalls.openat2(root, path, _DIRECTORY, syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS)


def _make_way(here: int, name: str, is_directory: bool) -> bool:
    """Removes what is in the way; True where a directory is there already and one is wanted."""
    try:
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(status.st_mode):
        if is_directory:
            return True
        remove_tree(f"/proc/self/fd/{here}/{name}")
    else:
        os.unlink(name, dir_fd=here)
    return False


def _copy_file(there: int, here: int, name: str) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    reading = os.open(name, os.O_RDONLY | flags, dir_fd=there)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=here)
        try:
            copy_data(reading, writing)
            _copy_attributes(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_data(reading: int, writing: int) -> None:
    """From where both files stand to the end of ``reading``: by the kernel where it can."""
    try:
        while os.copy_file_range(reading, writing, _RANGE_BYTES):
            pass
    except OSError as error:
        if error.errno not in _NOT_BY_KERNEL:
            raise
    # Some file systems say that there is nothing where they cannot tell; at the end, this is one empty read.
    while piece := os.read(reading, _PIECE_BYTES):
        write_all(writing, piece)


def _copy_attributes(reading: int, writing: int) -> None:
    status = os.fstat(reading)
    try:
        os.fchown(writing, status.st_uid, status.st_gid)
    except PermissionError:
        pass
    os.fchmod(writing, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(reading):
        if not name.startswith(_OVERLAY):
            try:
                os.setxattr(writing, name, os.getxattr(reading, name))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))


def _finish(here: int, name: str, status: os.stat_result, *, with_mode: bool) -> None:
    """Owner, mode and times of what cannot be opened."""
    try:
        os.chown(name, status.st_uid, status.st_gid, dir_fd=here, follow_symlinks=False)
    except PermissionError:
        pass
    if with_mode:
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=here)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=here, follow_symlinks=False)
