"""System calls that Python 3.11 has no name for, through the C part of ctypes, loaded by the first call.

The package ctypes makes thirty classes for itself, which cost a short command a tenth of its time.

Every function raises ``OSError`` with the errno of the call. Constants are those of the kernel's uapi headers; the
numbers of system calls added since 5.0 are the same on every architecture but alpha.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_FS = 0x200
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOATIME = 0x10

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10

# IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF
_WATCHED = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400
_RESOLVE_ATTEMPTS = 100

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _PIDFD_GETFD, _MOUNT_SETATTR = 437, 438, 442

# The functions of the C library, by name, and what else ``_call`` needs: made by whoever calls first (twice would be
# harmless).
_made: dict[str, Any] = {}
_CDECL, _USE_ERRNO = 0x1, 0x8


def load() -> None:
    """Loads what the calls need now: for a process that is about to fork and must not import afterwards."""
    if _made:
        return
    import _ctypes

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "i"

    class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "l"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _CDECL | _USE_ERRNO
        _restype_ = Int

    library = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # all that this process has loaded
    names = ("syscall", "unshare", "setns", "mount", "umount2", "inotify_init1", "inotify_add_watch")
    functions = {name: Function(_ctypes.dlsym(library, name)) for name in names}
    _made.update(functions, errno=_ctypes.get_errno, Long=Long)


def _call(name: str, *arguments: int | bytes | None, path: str | bytes | None = None) -> int:
    """A function of the C library. All that is called here returns an ``int``, or a number as small as one."""
    load()
    long = _made["Long"]
    result = _made[name](*[long(item) if isinstance(item, int) else item for item in arguments])
    if result < 0:
        code = _made["errno"]()
        raise OSError(code, os.strerror(code), path)
    return int(result)


def _syscall(number: int, *arguments: int | bytes | None, path: str | bytes | None = None) -> int:
    return _call("syscall", number, *arguments, path=path)


def _words(*values: int) -> bytes:
    """A structure of 64-bit words. Not by ``struct``, which has to be loaded for it."""
    return b"".join([value.to_bytes(8, sys.byteorder) for value in values])


def unshare(flags: int) -> None:
    """unshare(2)."""
    _call("unshare", flags)


def setns(fd: int, flags: int = 0) -> None:
    """setns(2)."""
    _call("setns", fd, flags)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    options = os.fsencode(data) if data else None
    _call("mount", os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, options, path=target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _call("umount2", os.fsencode(target), flags, path=target)


def inotify(directory: str) -> int:
    """inotify(7): a descriptor that tells of writes, renames and new or removed files in ``directory``."""
    descriptor = _call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _call("inotify_add_watch", descriptor, os.fsencode(directory), _WATCHED, path=directory)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def fsopen(kind: str) -> int:
    """fsopen(2): the context of a new file system."""
    return _syscall(_FSOPEN, kind.encode(), FSOPEN_CLOEXEC)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """fsconfig(2) with FSCONFIG_SET_STRING (at most 255 bytes of value)."""
    _syscall(_FSCONFIG, fd, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0, path=value)


def fsconfig_flag(fd: int, key: str) -> None:
    """fsconfig(2) with FSCONFIG_SET_FLAG."""
    _syscall(_FSCONFIG, fd, FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsconfig_create(fd: int) -> None:
    """fsconfig(2) with FSCONFIG_CMD_CREATE: the superblock comes to be."""
    _syscall(_FSCONFIG, fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of what ``fsconfig_create`` made."""
    return _syscall(_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)


def open_tree(path: str, flags: int) -> int:
    """open_tree(2)."""
    return _syscall(_OPEN_TREE, AT_FDCWD, os.fsencode(path), flags, path=path)


def move_mount(fd: int, target: str) -> None:
    """move_mount(2): attaches the detached mount ``fd`` at ``target``."""
    _syscall(_MOVE_MOUNT, fd, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH, path=target)


def move_mount_to(fd: int, target_fd: int) -> None:
    """move_mount(2) onto the directory or file that ``target_fd`` (O_PATH) is."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _syscall(_MOVE_MOUNT, fd, b"", target_fd, b"", flags)


def mount_setattr(fd: int, set_attributes: int, recursive: bool) -> None:
    """mount_setattr(2) on the mount ``fd``: adds attributes, takes none away."""
    value = _words(set_attributes, 0, 0, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _syscall(_MOUNT_SETATTR, fd, b"", flags, value, len(value))


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """pidfd_getfd(2): a duplicate, close-on-exec, of another process's descriptor."""
    return _syscall(_PIDFD_GETFD, pidfd, descriptor, 0)


def openat2(directory_fd: int, path: str | bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): open with bounds on how ``path`` is resolved (RESOLVE_*).

    Whatever is renamed or mounted anywhere on the host while the kernel goes through a ".." makes it start over; EAGAIN
    is raised where that has happened too often.
    """
    value = _words(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(_RESOLVE_ATTEMPTS):
        try:
            return _syscall(_OPENAT2, directory_fd, os.fsencode(path), value, len(value), path=path)
        except BlockingIOError:
            if attempt == _RESOLVE_ATTEMPTS - 1:
                raise
    raise AssertionError
