"""Files and directories: written whole or not at all, removed whatever their modes."""

from __future__ import annotations

import errno
import os
import stat
import sys

from cais.errors import Invalid

# How many levels of a tree are open at once while it is removed.
_LEVELS = 64


def random_name(bytes_count: int = 16) -> str:
    """A name nobody else has: hexadecimal, twice ``bytes_count`` long."""
    return os.urandom(bytes_count).hex()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """``os.write`` until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def overwrite(path: str, data: bytes, mode: int = 0o600) -> None:
    """``path`` holds ``data`` and stays the file that it is. A killed process leaves a part. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def read_small(path: str) -> bytes:
    """What one read gives of a note or a file in /proc: without a file object, which takes longer. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def cleaned(path: str) -> str:
    """``path`` from the root on, without ``.``, ``..`` (which stops at the root) and doubled slashes; no links read."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def read_start(path: str, limit_bytes: int) -> bytes:
    """The file up to ``limit_bytes``; a pipe is not waited for, a device not read. Raises Invalid, OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Invalid(f"{path} is not a file")
        return file.read(limit_bytes)


def write_atomically(path: str, data: bytes, mode: int = 0o600) -> None:
    """``path`` has either its old content or all of ``data``, also when the process is killed."""
    temporary = f"{path}.{random_name(6)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# linux/fs.h, and ext4's EXT4_TOPDIR_FL.
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_TOP_OF_TREES = 0x00020000


def make_top(path: str, mode: int) -> None:
    """Makes a directory, if it is not there, whose subdirectories are trees that have nothing to do with each other.

    ext4 (chattr +T) then gives each a place of its own on the disk, instead of one beside the last: without a journal
    it passes over every inode there that was freed in the last minutes, once for every file that is made, which takes
    longer than all the rest. Raises OSError where it cannot be made.
    """
    if os.path.isdir(path):
        return
    os.makedirs(path, mode, exist_ok=True)
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8))
        wanted = int.from_bytes(flags[:4], sys.byteorder) | _TOP_OF_TREES
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, wanted.to_bytes(4, sys.byteorder) + bytes(4))
    except OSError:
        pass  # another file system, which may have no such thing
    finally:
        os.close(descriptor)


# How often one removal begins a directory anew that others fill meanwhile.
_AGAIN = 100


def remove_tree(path: str) -> None:
    """Removes a file or a whole directory tree; what is already gone is no error. Links are not followed."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return
    directory, name = os.path.split(path.rstrip("/"))
    parent = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _remove_directory(parent, name)
    finally:
        os.close(parent)


def _remove_directory(parent: int, name: str | bytes) -> None:
    """Iterative, with few descriptors, so that no path is too long, and no depth too great for stack or limits."""
    levels: list[tuple[int, str | bytes, list[str]]] = []
    again = 0

    def enter(above: int, name: str | bytes) -> None:
        descriptor = _open_directory(above, name)
        if descriptor is not None:
            levels.append((descriptor, name, []))
            levels[-1][2].extend(_empty(descriptor))

    try:
        enter(parent, name)
        while levels:
            descriptor, name, directories = levels[-1]
            if directories:
                child = directories.pop()
                if len(levels) < _LEVELS:
                    enter(descriptor, child)
                elif (moved := _moved(descriptor, child, levels[0][0])) is not None:
                    levels[0][2].append(moved)
                continue
            levels.pop()
            os.close(descriptor)
            above = levels[-1][0] if levels else parent
            try:
                os.rmdir(name, dir_fd=above)
            except FileNotFoundError:
                pass
            except OSError as error:
                # A process that is ending wrote one more file.
                again += 1
                if error.errno != errno.ENOTEMPTY or again > _AGAIN:
                    raise
                enter(above, name)
    finally:
        for descriptor, _, _ in levels:
            os.close(descriptor)


def _moved(parent: int, name: str, top: int) -> str | None:
    """Moves a directory up to ``top``; its new name there, or None where it is gone."""
    new = random_name()
    try:
        try:
            os.rename(name, new, src_dir_fd=parent, dst_dir_fd=top)
        except PermissionError:
            # Its ".." changes, so it has to be writable itself.
            os.chmod(name, 0o700, dir_fd=parent)
            os.rename(name, new, src_dir_fd=parent, dst_dir_fd=top)
    except FileNotFoundError:
        return None
    return new


def _open_directory(parent: int, name: str | bytes) -> int | None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        return None
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)


def _empty(descriptor: int) -> list[str]:
    """Unlinks all but the directories of an open directory, and returns their names."""
    directories: list[str] = []
    with os.scandir(descriptor) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        if is_directory:
            directories.append(name)
            continue
        try:
            os.unlink(name, dir_fd=descriptor)
        except FileNotFoundError:
            pass
        except PermissionError:
            os.fchmod(descriptor, 0o700)
            os.unlink(name, dir_fd=descriptor)
    return directories


def tree_size_bytes(path: str) -> int:
    """The space that the files of a tree take, hard links counted once; directories take nothing, as for Docker.

    What a sparse file leaves out is not counted.
    """
    from cais.host.beneath import Beneath

    total = 0
    seen: set[tuple[int, int]] = set()
    try:
        tree = Beneath(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return 0
    with tree:
        pending = [b""]
        while pending:
            directory = pending.pop()
            try:
                with os.scandir(tree.fd(directory)) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            name = os.fsencode(entry.name)
                            pending.append(directory + b"/" + name if directory else name)
                            continue
                        if status.st_nlink > 1:
                            if (status.st_dev, status.st_ino) in seen:
                                continue
                            seen.add((status.st_dev, status.st_ino))
                        total += min(status.st_size, status.st_blocks * 512)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
    return total
