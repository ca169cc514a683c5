"""Names from an archive as paths below a root that they cannot leave."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from cais.errors import Invalid
from cais.host.beneath import Beneath

PATH_LIMIT_BYTES = 1 << 15
_LINKS_LIMIT = 40


def shown(name: bytes) -> str:
    """A hostile name in a message: quoted, and not too long."""
    text = repr(os.fsdecode(name[:300]))
    return text if len(name) <= 300 else f"{text}... ({len(name)} bytes)"


def relative(name: bytes, entry_name: bytes) -> bytes:
    """A name's path below the root, where "/" begins; b"" is the root itself. Raises Invalid for ".."."""
    if len(name) > PATH_LIMIT_BYTES:
        raise Invalid(f"the archive has a name of {len(name)} bytes; the limit is {PATH_LIMIT_BYTES}")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise Invalid(
            f"the archive's entry {shown(entry_name)} has '..' in a name: it could lead out of the target directory",
            hint="The archive is damaged or hostile; nothing of it is used.",
        )
    return b"/".join(parts)


def resolved(
    tree: Beneath,
    directory: bytes,
    entry_name: bytes,
    make: Callable[[bytes, bytes, os.stat_result | None], None] | None,
) -> bytes:
    """``directory`` without symbolic links on the way: they are followed as in a root file system, ".." stops at it.

    ``make(parent, name, status)`` makes what is missing, or is no directory (``status``); without it, FileNotFoundError
    and NotADirectoryError are raised. Raises Invalid for a loop of links.
    """
    try:
        tree.fd(directory)
        return directory
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
    parts = directory.split(b"/")[::-1]
    real = b""
    links = 0
    while parts:
        part = parts.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            real = real.rpartition(b"/")[0]
            continue
        fd = tree.fd(real)
        status: os.stat_result | None
        try:
            status = os.stat(part, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            status = None
        if status is not None and stat.S_ISLNK(status.st_mode):
            links += 1
            target = os.readlink(part, dir_fd=fd)
            if links > _LINKS_LIMIT or len(parts) > PATH_LIMIT_BYTES:
                raise Invalid(f"the archive's entry {shown(entry_name)} goes through too many symbolic links")
            if target.startswith(b"/"):
                real = b""
            parts += target.split(b"/")[::-1]
            continue
        if status is None or not stat.S_ISDIR(status.st_mode):
            if make is None:
                code = errno.ENOENT if status is None else errno.ENOTDIR
                raise OSError(code, os.strerror(code))
            make(real, part, status)
        real = real + b"/" + part if real else part
    return real
