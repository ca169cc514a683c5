"""The first use of a volume: it takes what the image has at its mount point, owners, modes and xattrs included.

The files are copied beside the volume and then moved into it, under a lock: of two containers that start at once one
fills it and the other finds it full; a copy that was killed is begun anew, a move that was killed is gone on with. What
is in the volume is never removed: who mounted it before keeps its directory and its files.
"""

from __future__ import annotations

import errno
import os

from cais.errors import from_os_error
from cais.host import syscalls
from cais.host.copying import copy_attributes, copy_tree
from cais.host.files import remove_tree
from cais.host.locks import FileLock
from cais.volume.options import has_dress, is_mount, is_readonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_COPYING, _COPIED = "filling", "filled"


def fill(data: str, rootfs: str, target: str, options: Mapping[str, str] | None = None) -> bool:
    """Copies the directory ``target`` of ``rootfs`` into ``data``, if ``data`` is empty; True where it did.

    ``options`` are the volume's: owner and mode that they give ``data`` itself stay; what is mounted there from
    elsewhere is filled where it is, and left alone where it is read-only. The root file system may be hostile:
    ``target`` is resolved inside it, and links below are copied, not followed.
    """
    options = options or {}
    beside = os.path.dirname(data)
    copied = os.path.join(beside, _COPIED)
    try:
        # In this order: whoever moves files into it has ``copied`` until all are there.
        if (not _is_empty(data) and not os.path.lexists(copied)) or is_readonly(options):
            return False
        source = _source(rootfs, target)
        try:
            with FileLock(os.path.join(beside, "fill.lock")):
                if not os.path.lexists(copied):
                    if source < 0 or not _is_empty(data):
                        return False
                    if is_mount(options):
                        copy_tree(source, data)  # nothing moves from one file system to another
                        return True
                    _copy(source, beside)
                _move(copied, data, has_dress(options))
        finally:
            if source >= 0:
                os.close(source)
        return True
    except OSError as error:
        raise from_os_error(error, f"fill the volume at {target} from the image")


def _is_empty(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(iter(entries), None) is None


def _source(rootfs: str, target: str) -> int:
    """A descriptor of the directory in the image, or -1 where there is none."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY
        return syscalls.openat2(root, target, flags, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return -1
        raise
    finally:
        os.close(root)


def _copy(source: int, beside: str) -> None:
    copying = os.path.join(beside, _COPYING)
    remove_tree(copying)
    os.mkdir(copying, 0o700)
    copy_tree(source, copying)
    os.rename(copying, os.path.join(beside, _COPIED))


def _move(copied: str, data: str, dressed: bool) -> None:
    """Entry by entry; what came into the volume under the same name meanwhile stays."""
    there = os.open(copied, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        here = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mode = os.fstat(there).st_mode & 0o7777
            os.fchmod(there, mode | 0o700)
            for name in os.listdir(there):
                try:
                    os.stat(name, dir_fd=here, follow_symlinks=False)
                except FileNotFoundError:
                    os.rename(name, name, src_dir_fd=there, dst_dir_fd=here)
            os.fchmod(there, mode)
            if not dressed:
                copy_attributes(there, here)
        finally:
            os.close(here)
    finally:
        os.close(there)
    remove_tree(copied)
