"""Where a copy writes: a mounted file system, or the directory of a layer with a read-only view of what is below it.

Writing into the layer's directory spares half of the cost of a file, and lets files of an earlier result be linked.
"""

from __future__ import annotations

import errno
import os
import stat

from cais.build.hashing import kept_attributes
from cais.build.tree import DIRECTORY, FILE, Resolved, Tree, shown
from cais.errors import Invalid
from cais.host.owners import give
from cais.spec.named import NamedTuple

NEW_DIRECTORY_MODE = 0o755


class Place(NamedTuple):
    """An open directory to write in. ``below`` is the same directory of what is below the layer, or -1.

    ``inherits``: its set-group-ID bit gives new files its group.
    """

    descriptor: int
    below: int
    inherits: bool

    def close(self) -> None:
        os.close(self.descriptor)
        if self.below >= 0:
            os.close(self.below)

    def status(self, name: str) -> os.stat_result | None:
        """What is there under ``name``, links not followed."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            pass
        if self.below >= 0:
            try:
                return os.stat(name, dir_fd=self.below, follow_symlinks=False)
            except FileNotFoundError:
                pass
        return None


class Target(Tree):
    """A writable file system, mounted or a plain directory; ``path`` is its root.

    ``touched`` are the directories that were opened to be written in, and have no time of their own since.
    """

    __slots__ = ("touched",)

    def __init__(self, path: str | bytes) -> None:
        super().__init__(path)
        self.touched: set[str] = set()

    def settle(self, modified: int) -> None:
        """Gives every touched directory the modification time ``modified`` (ns), the same on every day."""
        for path in self.touched:
            self._set_time(path, modified)
        self.touched.clear()

    def has_its_time(self, path: str) -> None:
        """The directory ``path`` has got a modification time of its own."""
        self.touched.discard(path)

    def _set_time(self, path: str, modified: int) -> None:
        try:
            descriptor = self.open(path, DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return  # replaced since
        except OSError as error:
            if error.errno == errno.ELOOP:
                return  # by a link
            raise
        try:
            os.utime(descriptor, ns=(modified, modified))
        finally:
            os.close(descriptor)

    def place(self, path: str) -> Place:
        """Opens the directory ``path``, which exists and has no links in it, to be written in."""
        self.touched.add(path)
        descriptor = self.open(path, DIRECTORY)
        return Place(descriptor, -1, bool(os.fstat(descriptor).st_mode & stat.S_ISGID))

    def bring(self, place: Place, name: str) -> bool:
        """Makes the file ``name`` of ``place`` one that can be linked; False where there is none."""
        status = place.status(name)
        return status is not None and not stat.S_ISDIR(status.st_mode)

    def make_directories(self, path: str, owner: tuple[int, int]) -> Resolved:
        """Makes ``path`` and its missing parents, following links inside the root; what is there is not touched.

        Raises Invalid when a part of it is no directory.
        """
        resolved = self.resolve(path)
        if resolved.status is not None:
            if not stat.S_ISDIR(resolved.status.st_mode):
                raise Invalid(f"cannot make the directory {shown('/' + path)}: {_blocked(self, resolved.path)}")
            return resolved
        parts = resolved.path.split("/")
        there = len(parts) - 1
        while there:
            status = self.status("/".join(parts[:there]))
            if status is not None:
                if not stat.S_ISDIR(status.st_mode):
                    raise Invalid(f"cannot make the directory {shown('/' + path)}: {_blocked(self, resolved.path)}")
                break
            there -= 1
        for number in range(there, len(parts)):
            parent = self.place("/".join(parts[:number]))
            try:
                make_directory(parent, parts[number], NEW_DIRECTORY_MODE, owner)
            finally:
                parent.close()
            self.touched.add("/".join(parts[: number + 1]))
        return Resolved(resolved.path, self.status(resolved.path), resolved.left)


class LayerTarget(Target):
    """``path`` is the directory of a new layer, to be put on top of ``below`` (None: nothing is below it).

    Only names that the layer does not have are looked up in ``below``: the layer holds no whiteouts yet. Nobody may
    have it mounted meanwhile.
    """

    __slots__ = ("below", "hidden", "opaque", "times")

    def __init__(self, path: str | bytes, below: str | bytes | None, opaque: str = "trusted.overlay.opaque") -> None:
        super().__init__(path)
        self.opaque = opaque
        # Paths where the layer hides what is below it.
        self.hidden: set[str] = set()
        # Directories that were made here only because something below them is, and the times that they keep.
        self.times: dict[str, int] = {}
        self.below: Tree | None = None
        if below is not None:
            self.below = Tree(below)

    def close(self) -> None:
        super().close()
        if self.below is not None:
            self.below.close()

    def settle(self, modified: int) -> None:
        for path, time in self.times.items():
            if path not in self.touched:
                self._set_time(path, time)
        super().settle(modified)

    def has_its_time(self, path: str) -> None:
        super().has_its_time(path)
        self.times.pop(path, None)

    def status(self, path: str) -> os.stat_result | None:
        status = super().status(path)
        if status is not None or self.below is None or self._is_hidden(path):
            return status
        return self.below.status(path)

    def link(self, path: str) -> str:
        try:
            return super().link(path)
        except FileNotFoundError:
            if self.below is None:
                raise
            return self.below.link(path)

    def open_file(self, path: str, flags: int = FILE) -> int:
        try:
            return super().open_file(path, flags)
        except FileNotFoundError:
            if self.below is None or self._is_hidden(path):
                raise
            return self.below.open_file(path, flags)

    def place(self, path: str) -> Place:
        self.touched.add(path)
        try:
            descriptor = self.open(path, DIRECTORY)
        except FileNotFoundError:
            self._copy_up(path)
            descriptor = self.open(path, DIRECTORY)
        below = -1
        if self.below is not None and not self._is_hidden(path):
            try:
                below = self.below.open(path, DIRECTORY)
            except OSError:
                below = -1
        return Place(descriptor, below, bool(os.fstat(descriptor).st_mode & stat.S_ISGID))

    def bring(self, place: Place, name: str) -> bool:
        """A file or symbolic link that only stands below is copied into the layer, as overlay does to link it."""
        try:
            return not stat.S_ISDIR(os.stat(name, dir_fd=place.descriptor, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            status = place.status(name)
        if status is not None and stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=place.below), name, dir_fd=place.descriptor)
            if os.geteuid() == 0:
                give(name, status.st_uid, status.st_gid, directory=place.descriptor)
            times = (status.st_atime_ns, status.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=place.descriptor, follow_symlinks=False)
            return True
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        from cais.host.copying import copy_data

        old = os.open(name, FILE, dir_fd=place.below)
        try:
            new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place.descriptor)
            try:
                copy_data(old, new)
                if os.geteuid() == 0:
                    give(new, status.st_uid, status.st_gid)
                os.fchmod(new, status.st_mode & 0o7777)
                for key, value in kept_attributes(old):
                    os.setxattr(new, key, value)
                os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(new)
        finally:
            os.close(old)
        return True

    def hide_below(self, path: str) -> None:
        """The new directory ``path`` shall show nothing of what is below it (it took another thing's place)."""
        if self.below is None or self._is_hidden(path) or self.below.status(path) is None:
            return
        descriptor = self.open(path, DIRECTORY)
        try:
            os.setxattr(descriptor, self.opaque, b"y")
        finally:
            os.close(descriptor)
        self.hidden.add(path)

    def _is_hidden(self, path: str) -> bool:
        """Whether the layer shows at ``path`` or above it something that is not merged with what is below."""
        if any(path == item or path.startswith(f"{item}/") for item in self.hidden):
            return True
        parent = path
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            status = super().status(parent)
            if status is not None:
                return not stat.S_ISDIR(status.st_mode)
        return False

    def _copy_up(self, path: str) -> None:
        """The directories of ``path`` that only stand below, made in the layer as they are there."""
        if self.below is None:
            raise FileNotFoundError(path)
        parts = path.split("/")
        for number in range(1, len(parts) + 1):
            here = "/".join(parts[:number])
            if super().status(here) is not None:
                continue
            old = self.below.open(here, DIRECTORY)
            try:
                status = os.fstat(old)
                parent = self.open("/".join(parts[: number - 1]), DIRECTORY)
                try:
                    os.mkdir(parts[number - 1], 0o700, dir_fd=parent)
                    new = os.open(parts[number - 1], DIRECTORY, dir_fd=parent)
                finally:
                    os.close(parent)
                try:
                    os.fchown(new, status.st_uid, status.st_gid)
                    os.fchmod(new, status.st_mode & 0o7777)
                    for name, value in kept_attributes(old):
                        os.setxattr(new, name, value)
                    self.times[here] = status.st_mtime_ns
                finally:
                    os.close(new)
            finally:
                os.close(old)


def make_directory(parent: Place, name: str, mode: int, owner: tuple[int, int]) -> None:
    """A new directory with exactly this mode and owner."""
    os.mkdir(name, 0o700, dir_fd=parent.descriptor)
    descriptor = os.open(name, DIRECTORY, dir_fd=parent.descriptor)
    try:
        if os.geteuid() == 0:
            give(descriptor, *owner)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _blocked(tree: Tree, path: str) -> str:
    """Which part of ``path`` is the one that is no directory."""
    parts = path.split("/")
    for number in range(1, len(parts) + 1):
        here = "/".join(parts[:number])
        status = tree.status(here)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            return f"{shown('/' + here)} is not a directory"
    return "it is not a directory"
