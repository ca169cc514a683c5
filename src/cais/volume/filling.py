"""The first use of a volume: it takes what the image has at its mount point, owners, modes and xattrs included."""

from __future__ import annotations

import errno
import os
import stat

from cais.errors import from_os_error
from cais.host import syscalls

_COPY_BYTES = 1 << 24


def fill(data: str, rootfs: str, target: str) -> bool:
    """Copies the directory ``target`` of ``rootfs`` into ``data``, if ``data`` is empty; True where it did.

    The root file system may be hostile: ``target`` is resolved inside it, and links below are copied, not followed.
    """
    try:
        with os.scandir(data) as entries:
            if next(iter(entries), None) is not None:
                return False
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY
            source = syscalls.openat2(root, target, flags, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        finally:
            os.close(root)
        destination = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _copy_tree(source, destination)
        finally:
            os.close(source)
            os.close(destination)
        return True
    except OSError as error:
        raise from_os_error(error, f"fill the volume at {target} from the image")


def _copy_tree(source: int, destination: int) -> None:
    """Iterative, so that no depth overflows the stack; times last, as writing changes them."""
    links: dict[tuple[int, int], str] = {}
    pending: list[tuple[str, bool]] = [("", False)]
    while pending:
        path, done = pending.pop()
        there = _open_directory(source, path)
        here = _open_directory(destination, path)
        try:
            if done or not path:
                _copy_attributes(there, here)
            if not done:
                pending.append((path, True))
                for name in os.listdir(there):
                    below = f"{path}/{name}" if path else name
                    if _copy_entry(there, here, name, below, destination, links):
                        pending.append((below, False))
        finally:
            os.close(there)
            os.close(here)


def _open_directory(root: int, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY
    if not path:
        return os.dup(root)
    return syscalls.openat2(root, path, flags, syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS)


def _copy_entry(
    there: int, here: int, name: str, path: str, destination: int, links: dict[tuple[int, int], str]
) -> bool:
    """Copies one entry; True for a directory, whose entries follow."""
    status = os.stat(name, dir_fd=there, follow_symlinks=False)
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        os.mkdir(name, 0o700, dir_fd=here)
        return True
    if status.st_nlink > 1:
        key = (status.st_dev, status.st_ino)
        if key in links:
            os.link(links[key], name, src_dir_fd=destination, dst_dir_fd=here, follow_symlinks=False)
            return False
        links[key] = path
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=there), name, dir_fd=here)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=here, follow_symlinks=False)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=here, follow_symlinks=False)
    elif stat.S_ISREG(mode):
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        reading = os.open(name, os.O_RDONLY | flags, dir_fd=there)
        try:
            writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=here)
            try:
                _copy_data(reading, writing)
                _copy_attributes(reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
    elif not stat.S_ISSOCK(mode):
        os.mknod(name, mode, status.st_rdev, dir_fd=here)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=here, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(mode), dir_fd=here)
    return False


def _copy_data(reading: int, writing: int) -> None:
    while True:
        try:
            if not os.copy_file_range(reading, writing, _COPY_BYTES):
                return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            from cais.host.files import write_all

            while piece := os.read(reading, 1 << 20):
                write_all(writing, piece)
            return


def _copy_attributes(reading: int, writing: int) -> None:
    status = os.fstat(reading)
    os.fchown(writing, status.st_uid, status.st_gid)
    os.fchmod(writing, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(reading):
        if name.startswith(("trusted.overlay.", "user.overlay.")):
            continue
        try:
            os.setxattr(writing, name, os.getxattr(reading, name))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
    os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
