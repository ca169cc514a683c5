"""Extended attributes: which ones belong to a file's content, read and set by descriptor or path."""

from __future__ import annotations

import errno
import os

OVERLAY_PREFIXES = ("trusted.overlay.", "user.overlay.")
_KEPT = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_NONE: dict[bytes, bytes] = {}


def is_kept(name: str) -> bool:
    """Whether a layer keeps the attribute: file capabilities, ACLs, user.* and trusted.*, not those that overlayfs,
    SELinux and other rulers of this one host leave."""
    return name in _KEPT or (name.startswith(("user.", "trusted.")) and not name.startswith(OVERLAY_PREFIXES))


def listed(where: int | bytes) -> list[str]:
    """All names. A path's symbolic link is not followed. None where the file system has no attributes."""
    try:
        return os.listxattr(where) if isinstance(where, int) else os.listxattr(where, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES):
            return []
        raise


def read(where: int | bytes, names: list[str]) -> dict[bytes, bytes]:
    """Those of ``names`` that are kept."""
    found = _NONE
    for name in names:
        if is_kept(name):
            if found is _NONE:
                found = {}
            found[os.fsencode(name)] = value(where, name)
    return found


def value(where: int | bytes, name: str) -> bytes:
    """Raises OSError (ENODATA)."""
    return os.getxattr(where, name) if isinstance(where, int) else os.getxattr(where, name, follow_symlinks=False)


def write(where: int | bytes, name: bytes, content: bytes) -> bool:
    """False where the host does not let us: the file system has none, or the attribute needs another privilege."""
    try:
        if isinstance(where, int):
            os.setxattr(where, name, content)
        else:
            os.setxattr(where, name, content, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL):
            return False
        raise
    return True
