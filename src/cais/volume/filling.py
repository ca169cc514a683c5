"""The first use of a volume: it takes what the image has at its mount point, owners, modes and xattrs included."""

from __future__ import annotations

import errno
import os

from cais.errors import from_os_error
from cais.host import syscalls
from cais.host.copying import copy_tree


def fill(data: str, rootfs: str, target: str) -> bool:
    """Copies the directory ``target`` of ``rootfs`` into ``data``, if ``data`` is empty; True where it did.

    The root file system may be hostile: ``target`` is resolved inside it, and links below are copied, not followed.
    """
    try:
        with os.scandir(data) as entries:
            if next(iter(entries), None) is not None:
                return False
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY
            source = syscalls.openat2(root, target, flags, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        finally:
            os.close(root)
        destination = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_tree(source, destination)
        finally:
            os.close(source)
            os.close(destination)
        return True
    except OSError as error:
        raise from_os_error(error, f"fill the volume at {target} from the image")
