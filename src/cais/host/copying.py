"""Copying trees: with owners, modes, times, extended attributes and hard links, by descriptors, following no link."""

from __future__ import annotations

import errno
import os
import stat

from cais.host.beneath import Beneath
from cais.host.files import remove_tree, write_all

_PIECE_BYTES = 1 << 20
_RANGE_BYTES = 1 << 30
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_tree(
    source: str | int,
    target: str | int,
    *,
    replace: bool = False,
    root: bool = True,
    owners: bool = True,
    modified: int | None = None,
) -> None:
    """Copies what is in the directory ``source`` into the directory ``target``.

    Sockets are left out, and so is what this user may not make (devices) or give away (owners). ``replace``: what is
    in the way of an entry is removed; without it that is an error. ``root``: ``target`` takes the attributes of
    ``source``, too. Without ``owners`` all belongs to this user. ``modified``: the time of everything, in
    seconds. Raises OSError.
    """
    time_ns = None if modified is None else modified * 1_000_000_000
    with Beneath(_path(source)) as there, Beneath(_path(target)) as here:
        _Copy(there, here, replace, owners, time_ns).run(root)


def _path(directory: str | int) -> str:
    return f"/proc/self/fd/{directory}" if isinstance(directory, int) else directory


class _Copy:
    def __init__(self, source: Beneath, target: Beneath, replace: bool, owners: bool, time_ns: int | None) -> None:
        self.source = source
        self.target = target
        self.replace = replace
        self.owners = owners
        self.time_ns = time_ns
        # Where the first name of a file with several was made.
        self.links: dict[tuple[int, int], bytes] = {}

    def run(self, root: bool) -> None:
        """Iterative, so that no depth overflows the stack; a directory's attributes last: its entries change them."""
        pending: list[tuple[bytes, bool]] = [(b"", False)]
        while pending:
            path, entered = pending.pop()
            there = self.source.fd(path)
            if entered:
                copy_attributes(there, self.target.fd(path), self.owners, self.time_ns)
                continue
            if path or root:
                pending.append((path, True))
            for name in map(os.fsencode, os.listdir(there)):
                below = path + b"/" + name if path else name
                # Asked for again each time: links between other directories may have closed it.
                if self._entry(there, self.target.fd(path), name, below):
                    pending.append((below, False))

    def _entry(self, there: int, here: int, name: bytes, path: bytes) -> bool:
        """Copies one entry; True for a directory, whose entries follow."""
        status = os.stat(name, dir_fd=there, follow_symlinks=False)
        mode = status.st_mode
        if self.replace and _make_way(here, name, stat.S_ISDIR(mode)):
            return True
        if stat.S_ISDIR(mode):
            os.mkdir(name, 0o700, dir_fd=here)
            return True
        first = self.links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is not None:
            directory, _, last = first.rpartition(b"/")
            os.link(last, name, src_dir_fd=self.target.fd(directory), dst_dir_fd=here, follow_symlinks=False)
            return False
        if stat.S_ISREG(mode):
            _copy_file(there, here, name, self.owners, self.time_ns)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=there), name, dir_fd=here)
            _finish(here, name, status, self.owners, self.time_ns, with_mode=False)
        elif stat.S_ISSOCK(mode):
            return False
        else:
            try:
                os.mknod(name, mode, status.st_rdev, dir_fd=here)
            except PermissionError:
                return False
            _finish(here, name, status, self.owners, self.time_ns, with_mode=True)
        if status.st_nlink > 1:
            self.links[status.st_dev, status.st_ino] = path
        return False


def _make_way(here: int, name: bytes, is_directory: bool) -> bool:
    """Removes what is in the way; True where a directory is there already and one is wanted."""
    try:
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(status.st_mode):
        if is_directory:
            return True
        remove_tree(f"/proc/self/fd/{here}/{os.fsdecode(name)}")
    else:
        os.unlink(name, dir_fd=here)
    return False


def _copy_file(there: int, here: int, name: bytes, owners: bool, time_ns: int | None) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    reading = os.open(name, os.O_RDONLY | flags, dir_fd=there)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=here)
        try:
            copy_data(reading, writing)
            copy_attributes(reading, writing, owners, time_ns)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_data(reading: int, writing: int) -> None:
    """From where both files stand to the end of ``reading``: by the kernel where it can; holes stay holes."""
    if _has_holes(reading) and _is_at_end(writing):
        _copy_pieces(reading, writing)
        return
    try:
        while os.copy_file_range(reading, writing, _RANGE_BYTES):
            pass
    except OSError as error:
        if error.errno not in _NOT_BY_KERNEL:
            raise
    # Some file systems say that there is nothing where they cannot tell; at the end, this is one empty read.
    while piece := os.read(reading, _PIECE_BYTES):
        write_all(writing, piece)


def _has_holes(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < status.st_size


def _is_at_end(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_size <= os.lseek(descriptor, 0, os.SEEK_CUR)


def _copy_pieces(reading: int, writing: int) -> None:
    """The parts of a file that have data."""
    position = os.lseek(reading, 0, os.SEEK_CUR)
    shift = os.lseek(writing, 0, os.SEEK_CUR) - position
    while True:
        try:
            position = os.lseek(reading, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        end = os.lseek(reading, position, os.SEEK_HOLE)
        os.lseek(reading, position, os.SEEK_SET)
        os.lseek(writing, position + shift, os.SEEK_SET)
        while position < end:
            position += _copy_piece(reading, writing, end - position) or end  # it was cut short meanwhile
    end = os.lseek(reading, 0, os.SEEK_END)
    os.ftruncate(writing, end + shift)
    os.lseek(writing, 0, os.SEEK_END)


def _copy_piece(reading: int, writing: int, size: int) -> int:
    try:
        done = os.copy_file_range(reading, writing, min(size, _RANGE_BYTES))
    except OSError as error:
        if error.errno not in _NOT_BY_KERNEL:
            raise
        done = 0
    if not done:
        piece = os.read(reading, min(size, _PIECE_BYTES))
        write_all(writing, piece)
        done = len(piece)
    return done


def copy_attributes(reading: int, writing: int, owners: bool = True, time_ns: int | None = None) -> None:
    """Owner, mode, extended attributes and times of one open file or directory, for another."""
    status = os.fstat(reading)
    if owners:
        _give(writing, status)
    os.fchmod(writing, stat.S_IMODE(status.st_mode))
    for name in _attributes(reading):
        if not name.startswith(_OVERLAY):
            try:
                os.setxattr(writing, name, os.getxattr(reading, name))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    os.utime(writing, ns=_times(status, time_ns))


def _give(path: int | bytes, status: os.stat_result, directory: int | None = None) -> None:
    try:
        if isinstance(path, int):
            os.fchown(path, status.st_uid, status.st_gid)
        else:
            os.chown(path, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        # EINVAL: an id that this user namespace does not have.
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise


def _attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def _times(status: os.stat_result, time_ns: int | None) -> tuple[int, int]:
    return (status.st_atime_ns, status.st_mtime_ns) if time_ns is None else (time_ns, time_ns)


def _finish(
    here: int, name: bytes, status: os.stat_result, owners: bool, time_ns: int | None, *, with_mode: bool
) -> None:
    """Owner, mode and times of what cannot be opened."""
    if owners:
        _give(name, status, here)
    if with_mode:
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=here)
    os.utime(name, ns=_times(status, time_ns), dir_fd=here, follow_symlinks=False)
