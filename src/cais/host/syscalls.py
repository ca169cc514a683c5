"""System calls that Python 3.11 has no name for. ctypes is loaded by the first call, not by the import.

Every function raises ``OSError`` with the errno of the call. Constants are those of the kernel's uapi headers; the
numbers of system calls added since 5.0 are the same on every architecture but alpha.
"""

from __future__ import annotations

import os

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
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36

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

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF
_WATCHED = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400
_RESOLVE_ATTEMPTS = 100

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _PIDFD_GETFD, _MOUNT_SETATTR = 437, 438, 442

# ctypes' handle on the C library: made once, by whoever calls first (making it twice would be harmless).
_libc: list[Any] = []


def _c() -> Any:
    if not _libc:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        library.syscall.restype = ctypes.c_long
        _libc.append(library)
        _libc.append(ctypes)
    return _libc[0]


def load() -> None:
    """Loads ctypes now: for a process that is about to fork and must not import afterwards."""
    _c()


def _checked(result: int, path: str | bytes | None = None) -> int:
    if result < 0:
        code = _libc[1].get_errno()
        raise OSError(code, os.strerror(code), path)
    return int(result)


def _syscall(number: int, *arguments: Any, path: str | bytes | None = None) -> int:
    libc = _c()
    ctypes = _libc[1]
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _checked(libc.syscall(ctypes.c_long(number), *wide), path)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_c().unshare(flags))


def setns(fd: int, flags: int = 0) -> None:
    """setns(2)."""
    _checked(_c().setns(fd, flags))


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    libc = _c()
    ctypes = _libc[1]
    _checked(
        libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) if data else None,
        ),
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_c().umount2(os.fsencode(target), flags), target)


def inotify(directory: str) -> int:
    """inotify(7): a descriptor that tells of writes, renames and new or removed files in ``directory``."""
    libc = _c()
    descriptor = _checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        _checked(libc.inotify_add_watch(descriptor, os.fsencode(directory), _WATCHED), directory)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    libc = _c()
    ctypes = _libc[1]
    _checked(libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


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
    import struct

    value = struct.pack("=QQQQ", set_attributes, 0, 0, 0)
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
    import struct

    value = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(_RESOLVE_ATTEMPTS):
        try:
            return _syscall(_OPENAT2, directory_fd, os.fsencode(path), value, len(value), path=path)
        except BlockingIOError:
            if attempt == _RESOLVE_ATTEMPTS - 1:
                raise
    raise AssertionError
