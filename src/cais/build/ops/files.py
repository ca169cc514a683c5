"""One file from here to there: content, mode, modification time, owner, extended attributes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from cais.build.hashing import kept_attributes
from cais.build.ops.target import Place
from cais.build.tree import shown
from cais.errors import Denied, Invalid
from cais.host.owners import give

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.modes import Mode

SMALL_BYTES = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# So much is copied by one call of the kernel: within it nothing can stop it.
_RANGE_BYTES = 64 << 20


def nothing() -> None:
    """The ``check`` of what nobody stops."""


class Writer:
    """Writes into places with the attributes that it was made with.

    ``owner`` overrides what the source has, ``change`` makes its mode another. ``umask`` is the process's: what it
    takes away from a new file is given back by a chmod; threads cannot have their own.
    """

    __slots__ = ("change", "check", "identity", "owner", "privileged", "umask")

    def __init__(self, owner: tuple[int, int] | None, change: Mode | None, check: Callable[[], None] = nothing) -> None:
        self.check = check
        self.owner = owner
        self.change = change
        self.umask = _umask()
        self.identity = (os.geteuid(), os.getegid())
        self.privileged = self.identity[0] == 0

    def mode_of(self, mode: int, *, directory: bool = False) -> int:
        """The permissions (07777) of what has ``mode`` at its source."""
        return mode & 0o7777 if self.change is None else self.change.of(mode, directory=directory)

    def file(
        self,
        place: Place,
        name: str,
        path: str,
        source: int,
        size: int,
        mode: int,
        owner: tuple[int, int],
        modified: int,
    ) -> int:
        """Copies the open file ``source``; returns its size. ``path`` is the new file's, for messages."""
        self.check()
        mode = self.mode_of(mode)
        if size <= SMALL_BYTES:
            data = os.read(source, size + 1)
            target = self.create(place, name, path, mode)
            try:
                count = len(data)
                if count and os.write(target, data) != count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if count != size:
                    count += copy_rest(source, target)
                self._finish(target, place, mode, owner, modified, source)
                return count
            finally:
                os.close(target)
        target = self.create(place, name, path, mode)
        try:
            count = copy_data(source, target, size, self.check)
            self._finish(target, place, mode, owner, modified, source)
            return count
        finally:
            os.close(target)

    def create(self, place: Place, name: str, path: str, mode: int) -> int:
        """A new file in the place of what is there, which may not be a directory."""
        if place.below >= 0:
            make_way(place, name, path)
        try:
            return os.open(name, _NEW, mode & 0o777, dir_fd=place.descriptor)
        except FileExistsError:
            make_way(place, name, path)
        return os.open(name, _NEW, mode & 0o777, dir_fd=place.descriptor)

    def data(self, place: Place, name: str, path: str, data: bytes, mode: int, modified: int | None) -> None:
        """A file of ``data``, of root or of ``owner``."""
        mode = self.mode_of(mode)
        target = self.create(place, name, path, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
            self._finish(target, place, mode, self.owner or (0, 0), modified, -1)
        finally:
            os.close(target)

    def other(
        self, place: Place, name: str, path: str, directory: int, source_name: str, mode: int, device: int,
        owner: tuple[int, int], modified: int,
    ) -> None:  # fmt: skip
        """A link, FIFO or device like ``source_name`` in ``directory``; for a socket, as in BuildKit, an empty file."""
        make_way(place, name, path)
        kind = stat.S_IFREG if stat.S_ISSOCK(mode) else stat.S_IFMT(mode)
        there = place.descriptor
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(source_name, dir_fd=directory), name, dir_fd=there)
        else:
            mode = self.mode_of(mode)
            if kind == stat.S_IFCHR and device == 0:
                raise Invalid(f"{shown('/' + path)} is the character device 0:0, which stands for a deleted file")
            try:
                os.mknod(name, kind | 0o600, device if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0, dir_fd=there)
            except PermissionError:
                raise Denied(
                    f"cannot make the device {shown('/' + path)}: the kernel lets only root do this",
                    hint="Leave it out with .dockerignore, or build as root.",
                )
        if self.privileged and (self.identity != owner or place.inherits):
            give(name, *owner, directory=there)
        if kind != stat.S_IFLNK:
            os.chmod(name, mode, dir_fd=there)
        os.utime(name, ns=(modified, modified), dir_fd=there, follow_symlinks=False)

    def _finish(
        self, target: int, place: Place, mode: int, owner: tuple[int, int], modified: int | None, source: int
    ) -> None:
        if self.privileged and (self.identity != owner or place.inherits):
            give(target, *owner)
        if mode & 0o7000 or mode & self.umask:
            os.fchmod(target, mode)
        if source >= 0:
            # After the owner, as changing it takes file capabilities away.
            for name, value in kept_attributes(source):
                set_attribute(target, name, value)
        if modified is not None:
            os.utime(target, ns=(modified, modified))


def set_attribute(target: int, name: str, value: bytes) -> None:
    """BuildKit goes on where the file system or the user's rights do not allow one; so do we."""
    try:
        os.setxattr(target, name, value)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise


def make_way(place: Place, name: str, path: str) -> None:
    """Removes what is in the way of a file; a directory is not replaced by one."""
    status = place.status(name)
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        raise Invalid(f"cannot replace to directory {shown('/' + path)} with file")
    try:
        os.unlink(name, dir_fd=place.descriptor)
    except FileNotFoundError:
        pass  # it only stands below the layer, and is covered


def copy_data(source: int, target: int, size: int, check: Callable[[], None] = nothing) -> int:
    """All of ``source``, its holes as holes, by the kernel where it can; returns how many bytes it has.

    ``check`` is called now and then: what it raises ends the copying.
    """
    status = os.fstat(source)
    if status.st_blocks * 512 >= size:
        return _copy_range(source, target, 0, None, check)
    position = 0
    while True:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # nothing but a hole from here on
            return _copy_range(source, target, position, None, check)
        end = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, end - start, check)
        position = end
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    return size


def _copy_range(source: int, target: int, offset: int, count: int | None, check: Callable[[], None]) -> int:
    """``count`` bytes from ``offset`` on to the same offset (None: to the end); returns how many."""
    done = 0
    by_kernel = True
    os.lseek(source, offset, os.SEEK_SET)
    os.lseek(target, offset, os.SEEK_SET)
    while count is None or done < count:
        check()
        wanted = _RANGE_BYTES if count is None else min(count - done, _RANGE_BYTES)
        if by_kernel:
            try:
                moved = os.copy_file_range(source, target, wanted)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
                    raise
                by_kernel = False
                continue
            if not moved and not done:
                by_kernel = False  # some file systems say 0 for what they cannot
                continue
        else:
            moved = os.sendfile(target, source, None, wanted)
        if not moved:
            break
        done += moved
    return done


def copy_rest(source: int, target: int) -> int:
    """From where both files stand to the end."""
    total = 0
    while piece := os.read(source, SMALL_BYTES):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]
        total += len(piece)
    return total


def _umask() -> int:
    """The process's umask, read without changing it; all bits where it cannot be known."""
    try:
        with open("/proc/self/status", "rb") as lines:
            for line in lines:
                if line.startswith(b"Umask:"):
                    return int(line[6:], 8)
    except (OSError, ValueError):
        pass
    return 0o777
