"""Directories beneath a root, by descriptors: no symbolic link leads out, and no path is too long.

Every component is opened by itself with O_NOFOLLOW, so that it does not matter who changes the tree meanwhile. The
descriptors of the last directories are kept: a walk opens each directory about once.
"""

from __future__ import annotations

import errno
import os

_KEPT = 48
# Of the directories on the way to one, the last of them: what was asked for just before stays open, too.
_ON_THE_WAY = 24
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Beneath:
    """``fd(path)`` for a directory's ``path`` relative to ``root``: b"" or b"usr/lib". Close it after use."""

    __slots__ = ("_kept", "_last_fd", "_last_path", "root_fd")

    def __init__(self, root: str | bytes) -> None:
        self.root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._kept: dict[bytes, int] = {}
        self._last_path = b""
        self._last_fd = self.root_fd

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fd(self, path: bytes) -> int:
        """A descriptor that stays open until other directories were asked for. Raises OSError: ENOTDIR (also for a
        symbolic link), ENOENT."""
        if path == self._last_path:
            return self._last_fd
        if not path:
            fd = self.root_fd
        else:
            found = self._kept.pop(path, None)
            fd = self._open(path) if found is None else found
            self._keep(path, fd)
        self._last_path = path
        self._last_fd = fd
        return fd

    def _keep(self, path: bytes, fd: int) -> None:
        kept = self._kept
        kept[path] = fd  # the newest is last
        if len(kept) > _KEPT:
            os.close(kept.pop(next(iter(kept))))

    def _open(self, path: bytes) -> int:
        parent, _, name = path.rpartition(b"/")
        above = self._kept.pop(parent, None) if parent else self.root_fd
        if above is not None:
            if parent:
                self._kept[parent] = above  # where one directory is asked for, those beside it will be
            return os.open(name, _DIRECTORY, dir_fd=above)
        # Upwards to a directory that is open, then downwards; not by recursion, a path may have thousands of parts.
        names = [name]
        while above is None:
            parent, _, name = parent.rpartition(b"/")
            names.append(name)
            above = self._kept.get(parent) if parent else self.root_fd
        self._last_path, self._last_fd = b"", self.root_fd  # it may be one that is closed on the way
        fd, end, is_kept = above, len(parent), True
        while names:
            name = names.pop()
            try:
                below = os.open(name, _DIRECTORY, dir_fd=fd)
            finally:
                if not is_kept:
                    os.close(fd)
            fd = below
            end += len(name) + (end > 0)
            is_kept = 0 < len(names) <= _ON_THE_WAY
            if is_kept:
                self._keep(path[:end], fd)
        return fd

    def forget(self, path: bytes) -> None:
        """Closes what is kept of ``path`` and below it: it was removed or replaced."""
        below = path + b"/"
        for kept in [kept for kept in self._kept if kept == path or kept.startswith(below)]:
            os.close(self._kept.pop(kept))
        self._last_path = b""
        self._last_fd = self.root_fd

    def path(self, directory: bytes, name: bytes) -> bytes:
        """A path of a directory's entry for calls that take no descriptor (xattrs): short, whatever the depth."""
        return b"/proc/self/fd/%d/%s" % (self.fd(directory), name)

    def remove(self, directory: bytes, name: bytes) -> None:
        """Removes an entry and everything in it. Nothing to remove is no error."""
        path = directory + b"/" + name if directory else name
        try:
            os.unlink(name, dir_fd=self.fd(directory))
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.EPERM):
                raise
        self.forget(path)
        pending = [path]
        while pending:
            path = pending[-1]
            fd = self.fd(path)
            found = False
            for entry in os.listdir(fd):
                try:
                    os.unlink(entry, dir_fd=fd)
                except OSError as error:
                    if error.errno not in (errno.EISDIR, errno.EPERM):
                        raise
                    pending.append(path + b"/" + os.fsencode(entry))
                    found = True
            if found:
                continue
            pending.pop()
            self.forget(path)
            parent, _, name = path.rpartition(b"/")
            os.rmdir(name, dir_fd=self.fd(parent))

    def close(self) -> None:
        for fd in self._kept.values():
            os.close(fd)
        self._kept.clear()
        if self.root_fd >= 0:
            os.close(self.root_fd)
        self.root_fd = self._last_fd = -1
