"""The bound of a directory: a project quota, where the file system has them switched on (XFS, ext4).

All that is made below a directory with a project id counts for it. The id is made of the directory's inode, which no
other directory of the file system has; it goes with the directory.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Sequence

# linux/fs.h: struct fsxattr (flags, extent size, extents, project, extent size of copies, padding), and its ioctls.
_FSXATTR = struct.Struct("=IIIII8x")
_FS_IOC_FSGETXATTR, _FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
_FS_XFLAG_PROJINHERIT = 0x200
# linux/quota.h
_Q_SETQUOTA, _PROJECT_QUOTA = 0x800008, 2
_DQBLK = struct.Struct("=QQQQQQQQI4x")  # block limits (hard, soft), space, inodes (hard, soft, now), times, valid
_BLOCK_BYTES = 1024
_BLOCK_LIMITS = 1
_FIRST_PROJECT = 1 << 20


def set_limit(paths: Sequence[str], size_bytes: int) -> None:
    """Bounds what may lie below the directories ``paths``, which are empty, together.

    Raises OSError; ``is_missing`` says whether it means that the file system has no such quotas.
    """
    device = _device(paths[0])
    project = _FIRST_PROJECT + os.stat(paths[0]).st_ino % ((1 << 32) - _FIRST_PROJECT - 1)
    _set_quota(device, project, size_bytes)
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = bytearray(_FSXATTR.size)
            fcntl.ioctl(descriptor, _FS_IOC_FSGETXATTR, found)
            flags, extent, extents, _, copied = _FSXATTR.unpack(found)
            new = _FSXATTR.pack(flags | _FS_XFLAG_PROJINHERIT, extent, extents, project, copied)
            fcntl.ioctl(descriptor, _FS_IOC_FSSETXATTR, new)
        finally:
            os.close(descriptor)


def is_missing(error: OSError) -> bool:
    """Whether the file system has no project quotas, or they are not switched on."""
    return error.errno in (
        errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.ESRCH, errno.EINVAL, errno.ENOTBLK,
    )  # fmt: skip


def _device(path: str) -> str:
    """The block device that the file system of ``path`` is on. Raises OSError."""
    number = os.stat(path).st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            if fields[2] == wanted:
                source = fields[fields.index("-") + 2]
                if source.startswith("/dev/") and os.path.exists(source):
                    return source
    raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))


def _set_quota(device: str, project: int, size_bytes: int) -> None:
    blocks = -(-size_bytes // _BLOCK_BYTES)
    limits = ctypes.create_string_buffer(_DQBLK.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS))
    library = ctypes.CDLL(None, use_errno=True)
    command = ctypes.c_int(_Q_SETQUOTA << 8 | _PROJECT_QUOTA)
    if library.quotactl(command, device.encode(), ctypes.c_int(project), limits) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
