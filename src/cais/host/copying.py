"""Copying trees: with owners, modes, times, extended attributes and hard links, by descriptors, following no link.

Both trees may be changed meanwhile by whoever they belong to. What is read was looked at by the same descriptor, and a
device is never opened: nothing outside the two trees is read or written, whatever names are exchanged.
"""

from __future__ import annotations

import errno
import os
import stat

from cais.host.beneath import Beneath
from cais.host.files import remove_tree, write_all
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES = 1 << 20
_RANGE_BYTES = 1 << 30
_TOLD_BYTES = 16 << 20
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_EXCHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC

FAIL, REPLACE, ALIKE = "fail", "replace", "alike"


class NotAlike(Exception):
    """``path`` (in the target) is a directory and should become something else, or the other way about."""

    def __init__(self, path: bytes, *, is_directory: bool) -> None:
        super().__init__(path)
        self.path = path
        self.is_directory = is_directory


def _not_of_overlay(name: str) -> bool:
    return not name.startswith(_OVERLAY)


class Rules(NamedTuple):
    """``in_the_way``: what is there already is an error (FAIL), makes room (REPLACE), or makes room where it is of the
    same sort: a directory neither replaces a file nor makes room for one (ALIKE).

    ``owners``: owners are copied; else all belongs to this user, or to ``owner``. ``time_ns``: the time of everything.
    ``kept(name)``: whether an extended attribute is copied. ``skip``: directories, by (device, inode), whose entries
    are not copied. ``moving``: the source is in use: what goes away is left out, a file is as long as it was when its
    turn came. ``counted`` is told the bytes that each step would be of a tar archive.
    """

    in_the_way: str = FAIL
    owners: bool = True
    owner: tuple[int, int] | None = None
    time_ns: int | None = None
    kept: Callable[[str], bool] = _not_of_overlay
    skip: frozenset[tuple[int, int]] = frozenset()
    moving: bool = False
    counted: Callable[[int], None] | None = None


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
    copy_directory(source, target, Rules(REPLACE if replace else FAIL, owners, None, time_ns), root=root)


def copy_directory(source: str | int, target: str | int, rules: Rules, *, root: bool = True) -> None:
    """As ``copy_tree``, by ``rules``. Raises OSError, NotAlike."""
    with Beneath(_path(source)) as there, Beneath(_path(target)) as here:
        _Copy(there, here, rules).run(root)


def copy_node(node: int, target: int, name: bytes, rules: Rules) -> None:
    """Copies what is no directory, and what the descriptor ``node`` (O_PATH) is, as ``name`` in the directory
    ``target``. Raises OSError, NotAlike."""
    with Beneath(_path(target)) as here:
        _Copy(here, here, rules).node(node, here.root_fd, name, name)


def _path(directory: str | int) -> str:
    return f"/proc/self/fd/{directory}" if isinstance(directory, int) else directory


class _Copy:
    def __init__(self, source: Beneath, target: Beneath, rules: Rules) -> None:
        self.source = source
        self.target = target
        self.rules = rules
        # Where the first name of a file with several was made.
        self.links: dict[tuple[int, int], bytes] = {}

    def run(self, root: bool) -> None:
        """Iterative, so that no depth overflows the stack; a directory's attributes last: its entries change them."""
        pending: list[tuple[bytes, bool]] = [(b"", False)]
        while pending:
            path, entered = pending.pop()
            try:
                there = self.source.fd(path)
                if entered:
                    copy_attributes(there, self.target.fd(path), self.rules)
                    continue
                status = os.fstat(there)
                names = [] if (status.st_dev, status.st_ino) in self.rules.skip else os.listdir(there)
            except OSError as error:
                self._pass_over(error)
                continue
            self._count(path, 0)
            if path or root:
                pending.append((path, True))
            for name in map(os.fsencode, names):
                below = path + b"/" + name if path else name
                # Asked for again each time: links between other directories may have closed it.
                try:
                    if self._entry(self.source.fd(path), self.target.fd(path), name, below):
                        pending.append((below, False))
                except OSError as error:
                    self._pass_over(error)

    def _pass_over(self, error: OSError) -> None:
        if not self.rules.moving or error.errno not in _EXCHANGED:
            raise error

    def _count(self, path: bytes, size: int) -> None:
        if self.rules.counted is not None:
            self.rules.counted((512 if len(path) <= 100 else 1536) + size)

    def _entry(self, there: int, here: int, name: bytes, path: bytes) -> bool:
        """Copies one entry; True for a directory, whose entries follow."""
        node = os.open(name, _NODE, dir_fd=there)
        try:
            return self.node(node, here, name, path)
        finally:
            os.close(node)

    def node(self, node: int, here: int, name: bytes, path: bytes) -> bool:
        """Copies what ``node`` is as ``name``, which is ``path`` in the target."""
        status = os.fstat(node)
        mode = status.st_mode
        rules = self.rules
        if stat.S_ISSOCK(mode):
            return False
        found = "" if rules.in_the_way == FAIL else self._make_way(here, name, path, mode)
        if stat.S_ISDIR(mode):
            if not found:
                os.mkdir(name, 0o700, dir_fd=here)
            return True
        self._count(path, -status.st_size % 512 if stat.S_ISREG(mode) else 0)
        first = self.links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is not None:
            directory, _, last = first.rpartition(b"/")
            os.link(last, name, src_dir_fd=self.target.fd(directory), dst_dir_fd=here, follow_symlinks=False)
            return False
        if stat.S_ISREG(mode):
            self._file(node, status, here, name, in_place=bool(found))
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(b"", dir_fd=node), name, dir_fd=here)
            _finish(here, name, status, rules, with_mode=False)
        else:
            try:
                os.mknod(name, stat.S_IFMT(mode) | 0o600, status.st_rdev, dir_fd=here)
            except PermissionError:
                return False
            _finish(here, name, status, rules, with_mode=True)
        if status.st_nlink > 1 and not found:
            self.links[status.st_dev, status.st_ino] = path
        return False

    def _make_way(self, here: int, name: bytes, path: bytes, mode: int) -> str:
        """Removes what is in the way, or says what stays: a "directory" for a directory, a "file" that is a mount
        point (one cannot be removed, and another could not be seen)."""
        try:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            return ""
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and stat.S_ISDIR(mode):
            return "directory"
        if self.rules.in_the_way == ALIKE:
            if is_directory or stat.S_ISDIR(mode):
                raise NotAlike(path, is_directory=is_directory)
            if stat.S_ISREG(mode) and stat.S_ISREG(status.st_mode) and _is_mount_point(here, name):
                return "file"
        if is_directory:
            remove_tree(f"/proc/self/fd/{here}/{os.fsdecode(name)}")
        else:
            os.unlink(name, dir_fd=here)
        return ""

    def _file(self, node: int, status: os.stat_result, here: int, name: bytes, *, in_place: bool) -> None:
        rules = self.rules
        reading = os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            writing = (
                _truncated(here, name)
                if in_place
                else os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=here)
            )
            try:
                limit = status.st_size if rules.moving else None
                copy_data(reading, writing, limit=limit, counted=rules.counted)
                copy_attributes(reading, writing, rules)
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def _truncated(here: int, name: bytes) -> int:
    node = os.open(name, _NODE, dir_fd=here)
    try:
        if not stat.S_ISREG(os.fstat(node).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        return os.open(f"/proc/self/fd/{node}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    finally:
        os.close(node)


def _is_mount_point(here: int, name: bytes) -> bool:
    node = os.open(name, _NODE, dir_fd=here)
    try:
        return _mount_id(node) != _mount_id(here)
    finally:
        os.close(node)


def _mount_id(descriptor: int) -> bytes:
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:
        return next((line for line in lines if line.startswith(b"mnt_id:")), b"")


def copy_data(
    reading: int, writing: int, *, limit: int | None = None, counted: Callable[[int], None] | None = None
) -> None:
    """From where both files stand to the end of ``reading``, or ``limit`` bytes: by the kernel where it can; holes
    stay holes. ``counted`` is told how far it went."""
    if _has_holes(reading) and _is_at_end(writing):
        _copy_pieces(reading, writing, limit)
        if counted is not None:
            counted(os.fstat(writing).st_size)
        return
    left = 1 << 62 if limit is None else limit
    largest = _RANGE_BYTES if counted is None else _TOLD_BYTES
    by_kernel = True
    while left:
        done = 0
        if by_kernel:
            try:
                done = os.copy_file_range(reading, writing, min(largest, left))
            except OSError as error:
                if error.errno not in _NOT_BY_KERNEL:
                    raise
            # Some file systems say that there is nothing where they cannot tell; at the end, this is one empty read.
            by_kernel = done > 0
        if not by_kernel:
            piece = os.read(reading, min(_PIECE_BYTES, left))
            write_all(writing, piece)
            done = len(piece)
            if not done:
                return
        left -= done
        if counted is not None:
            counted(done)


def _has_holes(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < status.st_size


def _is_at_end(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_size <= os.lseek(descriptor, 0, os.SEEK_CUR)


def _copy_pieces(reading: int, writing: int, limit: int | None) -> None:
    """The parts of a file that have data."""
    position = os.lseek(reading, 0, os.SEEK_CUR)
    shift = os.lseek(writing, 0, os.SEEK_CUR) - position
    stop = 1 << 62 if limit is None else position + limit
    while position < stop:
        try:
            position = os.lseek(reading, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        end = min(os.lseek(reading, position, os.SEEK_HOLE), stop)
        os.lseek(reading, position, os.SEEK_SET)
        os.lseek(writing, position + shift, os.SEEK_SET)
        while position < end:
            position += _copy_piece(reading, writing, end - position) or end  # it was cut short meanwhile
    end = min(os.lseek(reading, 0, os.SEEK_END), stop)
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


def copy_attributes(reading: int, writing: int, rules: Rules | None = None) -> None:
    """Owner, mode, extended attributes and times of one open file or directory, for another."""
    rules = rules or Rules()
    status = os.fstat(reading)
    _give(writing, status, rules)
    os.fchmod(writing, stat.S_IMODE(status.st_mode))
    for name in _attributes(reading):
        if rules.kept(name):
            try:
                os.setxattr(writing, name, os.getxattr(reading, name))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    os.utime(writing, ns=_times(status, rules))


def _give(path: int | bytes, status: os.stat_result, rules: Rules, directory: int | None = None) -> None:
    if rules.owner is None and not rules.owners:
        return
    owner = rules.owner or (status.st_uid, status.st_gid)
    try:
        if isinstance(path, int):
            os.fchown(path, *owner)
        else:
            os.chown(path, *owner, dir_fd=directory, follow_symlinks=False)
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


def _times(status: os.stat_result, rules: Rules) -> tuple[int, int]:
    return (status.st_atime_ns, status.st_mtime_ns) if rules.time_ns is None else (rules.time_ns, rules.time_ns)


def _finish(here: int, name: bytes, status: os.stat_result, rules: Rules, *, with_mode: bool) -> None:
    """Owner, mode and times of what cannot be opened."""
    _give(name, status, rules, here)
    if with_mode:
        change_mode(here, name, stat.S_IMODE(status.st_mode))
    os.utime(name, ns=_times(status, rules), dir_fd=here, follow_symlinks=False)


def change_mode(directory: int, name: bytes, mode: int) -> None:
    """chmod(2) of an entry; where that is a symbolic link (by now), nothing is changed."""
    node = os.open(name, _NODE, dir_fd=directory)
    try:
        if not stat.S_ISLNK(os.fstat(node).st_mode):
            os.chmod(f"/proc/self/fd/{node}", mode)
    finally:
        os.close(node)
