"""Dressing what a layer brings: owner, mode, times, extended attributes, in the order in which they stay."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from cais.errors import CaisError, Invalid, from_os_error
from cais.host import xattrs
from cais.host.beneath import Beneath
from cais.host.copying import change_mode
from cais.host.owners import no_such_ids
from cais.host.tar_writer import TarEntry
from cais.snapshot.rooted import shown

_NO_ID = (1 << 32) - 1


class Dresser:
    """Without ``owners`` everything belongs to who applies it. ``note`` is told what was left out."""

    def __init__(self, tree: Beneath, owners: bool, note: Callable[[str], None]) -> None:
        self._tree = tree
        self._owners = owners
        self._note = note
        self._ids = (os.geteuid(), os.getegid())

    def dress(self, where: int, entry: TarEntry, fd: int) -> None:
        """Owner, mode, then attributes: a change of owner takes setuid bits and capabilities away."""
        status = os.fstat(fd)
        if self._owners and (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
            _own(entry, lambda: os.fchown(fd, entry.uid, entry.gid))
            os.fchmod(fd, entry.mode)
        elif status.st_mode & 0o7777 != entry.mode:
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(where, entry)

    def dress_by_name(self, parent: int, directory: bytes, name: bytes, entry: TarEntry) -> None:
        if self._owners and self._ids != (entry.uid, entry.gid):
            _own(entry, lambda: os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False))
        elif self._owners:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != "symlink":
            change_mode(parent, name, entry.mode)
        if entry.xattrs:
            self._set_xattrs(self._tree.path(directory, name), entry)
        times = (entry.mtime * 1_000_000_000, entry.mtime * 1_000_000_000)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _set_xattrs(self, where: int | bytes, entry: TarEntry) -> None:
        for name, content in entry.xattrs.items():
            text = os.fsdecode(name)
            if not xattrs.is_kept(text) or b"\0" in name or len(name) > 255:
                self._note(f"the attribute {text[:80]!r} of {shown(entry.name)} was left out: it is not one of a layer")
            elif not xattrs.write(where, name, content):
                self._note(f"the attribute {text!r} of {shown(entry.name)} was left out: it cannot be set here")


def _own(entry: TarEntry, change: Callable[[], None]) -> None:
    if not (0 <= entry.uid < _NO_ID and 0 <= entry.gid < _NO_ID):
        raise Invalid(f"the archive gives {shown(entry.name)} to {entry.uid}:{entry.gid}: there are no such ids")
    try:
        change()
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise no_such_ids(shown(entry.name), entry.uid, entry.gid)


def failure(error: OSError, name: bytes) -> CaisError:
    """What an OSError of writing the entry ``name`` is to the user."""
    code = error.errno
    if code == errno.ENAMETOOLONG:
        return Invalid(f"the archive's entry {shown(name)} has a name that is too long for the file system")
    if code == errno.EFBIG:
        return Invalid(f"the archive's entry {shown(name)} is larger than the file system can hold")
    if code == errno.EINVAL:
        return Invalid(f"the archive's entry {shown(name)} has a name or a time that the file system does not take")
    return from_os_error(OSError(error.errno, error.strerror), f"unpack {shown(name)}")
