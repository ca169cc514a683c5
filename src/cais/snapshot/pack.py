"""Packing: changes as a layer's plain tar (image-spec, layer.md). The same changes give the same bytes on any machine.

Modification times are whole seconds; access times, names of users and numbers of inodes do not come into it. Small
files are gathered into pieces of about 1 MiB; a sparse file's holes are not read from the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from cais.errors import Conflict, NotFound, Unsupported
from cais.host import xattrs
from cais.host.ahead import HashBeside
from cais.host.beneath import Beneath
from cais.host.tar_writer import TarEntry, header, padding, trailer
from cais.snapshot.changes import GONE, Change
from cais.spec.digest import Digest

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)
_PADDINGS = [bytes(-size % 512) for size in range(512)]
_METACOPY = {prefix + "metacopy" for prefix in xattrs.OVERLAY_PREFIXES}


def pack(
    changes: Iterable[Change],
    root: str,
    *,
    owners: bool = True,
    modified: int | None = None,
    prefix: bytes = b"",
    last: bool = True,
    plain: bool = False,
    moving: bool = False,
) -> Iterator[bytes]:
    """The layer's tar, in pieces. Without ``owners`` all is 0:0, as where a user alone made files that are all its own.

    ``modified``: the time of everything, in seconds. ``prefix`` (with a slash at its end) stands before every name.
    ``last`` False leaves the end of the archive out, so that another may follow. ``plain``: an archive that is no
    layer, in which every name is a file's. ``moving``: the tree is in use: what is gone by now is left out, and a file
    is as long as it is when its turn comes.

    Raises Conflict where a file changes while it is read, Unsupported where a name cannot be in a layer, NotFound where
    something is gone, OSError.
    """
    waiting: list[bytes] = []
    size = 0
    with Beneath(root) as tree:
        for change in changes:
            path, kind, status, link = change
            directory, _, name = path.rpartition(b"/")
            if status is None:
                entry = _deletion(path, directory, name, kind)
            else:
                if not plain and name.startswith(WHITEOUT):
                    raise Unsupported(
                        f"{os.fsdecode(path)!r} cannot be in a layer: names that begin with '.wh.' say what is deleted"
                    )
                if kind == "file":
                    try:
                        fd = _open(tree, directory, name, path) if not moving else _open_as_it_is(tree, directory, name)
                    except OSError as error:
                        if not moving or error.errno not in GONE:
                            raise
                        continue
                    try:
                        if moving:
                            status = os.fstat(fd)
                        data, found = _begin(fd, path, status, moving)
                        waiting.append(header(_entry(path, kind, status, b"", found, owners, modified, prefix)))
                        if data is not None:
                            waiting.append(data)
                            waiting.append(_PADDINGS[len(data) % 512])
                            size += len(data) + 1024
                        else:
                            yield b"".join(waiting)
                            yield from _content(fd, path, status, moving)
                            waiting = [padding(status.st_size)]
                            size = 0
                    finally:
                        os.close(fd)
                    if size >= _PIECE_BYTES:
                        yield b"".join(waiting)
                        waiting.clear()
                        size = 0
                    continue
                try:
                    if kind == "symlink":
                        link = os.readlink(name, dir_fd=tree.fd(directory))
                    where = tree.fd(path) if kind == "directory" else tree.path(directory, name)
                    found = {} if kind == "hardlink" else xattrs.read(where, xattrs.listed(where))
                except OSError as error:
                    if not moving or error.errno not in (errno.EINVAL, errno.ENODATA, *GONE):
                        raise
                    continue
                entry = _entry(path, kind, status, link, found, owners, modified, prefix)
            waiting.append(header(entry))
            size += 512
            if size >= _PIECE_BYTES:
                yield b"".join(waiting)
                waiting.clear()
                size = 0
    if last:
        waiting.append(trailer())
    yield b"".join(waiting)


def measure(
    changes: Iterable[Change], root: str, *, owners: bool = True, check: Callable[[], None] | None = None
) -> tuple[Digest, int]:
    """``(diff_id, size in bytes)`` of the tar that ``pack`` gives; hashed in a thread while the files are read.

    ``check`` is called now and then; what it raises ends it.
    """
    hashed = HashBeside()
    try:
        for piece in pack(changes, root, owners=owners):
            hashed.update(piece)
            if check is not None:
                check()
        return hashed.digest(), hashed.size_bytes
    finally:
        hashed.close()


def _entry(
    path: bytes,
    kind: str,
    status: os.stat_result,
    link: bytes,
    found: dict[bytes, bytes],
    owners: bool,
    modified: int | None,
    prefix: bytes,
) -> TarEntry:
    device = (0, 0)
    if kind == "char" or kind == "block":
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    # st_mtime is a float, exact to about 1e-7 s only: the nanoseconds round down for sure.
    return TarEntry(
        prefix + path,
        kind,
        status.st_mode & 0o7777,
        status.st_uid if owners else 0,
        status.st_gid if owners else 0,
        status.st_mtime_ns // 1_000_000_000 if modified is None else modified,
        status.st_size,
        prefix + link if kind == "hardlink" else link,
        device,
        found,
    )


def _deletion(path: bytes, directory: bytes, name: bytes, kind: str) -> TarEntry:
    if kind == "opaque":
        return TarEntry(path + b"/" + OPAQUE, mode=0)
    return TarEntry(directory + b"/" + WHITEOUT + name if directory else WHITEOUT + name, mode=0)


def _open(tree: Beneath, directory: bytes, name: bytes, path: bytes) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=tree.fd(directory))
    except FileNotFoundError:
        raise NotFound(f"the file {os.fsdecode(path)!r} was removed while its layer was made")


def _open_as_it_is(tree: Beneath, directory: bytes, name: bytes) -> int:
    """Opens a plain file, and nothing else that has its name by now: to open a device can have effects."""
    node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree.fd(directory))
    try:
        if not stat.S_ISREG(os.fstat(node).st_mode):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(node)


def _begin(fd: int, path: bytes, status: os.stat_result, moving: bool) -> tuple[bytes | None, dict[bytes, bytes]]:
    """A small file's content, else None; and its extended attributes."""
    now = os.fstat(fd)
    size = status.st_size
    if not moving and (not stat.S_ISREG(now.st_mode) or now.st_size != size):
        raise _changed(path)
    data: bytes | None = b""
    if size > _PIECE_BYTES:
        data = None
    elif size:
        data = os.read(fd, size + 1)
        if moving:
            data = data[:size].ljust(size, b"\0")
        elif len(data) != size:
            raise _changed(path)
    names = xattrs.listed(fd)
    if not names:
        return data, {}
    if not _METACOPY.isdisjoint(names):
        raise Unsupported(
            f"the file {os.fsdecode(path)!r} has no data of its own (overlayfs metacopy)",
            hint="Mount the layers with metacopy=off.",
        )
    return data, xattrs.read(fd, names)


def _content(fd: int, path: bytes, status: os.stat_result, moving: bool) -> Iterator[bytes]:
    """``moving``: zeros stand for what was cut off, and what was added is left out."""
    size = status.st_size
    if status.st_blocks * 512 < size:
        yield from _sparse_content(fd, path, size, moving)
        return
    left = size
    while left:
        data = os.read(fd, min(left, _PIECE_BYTES))
        if not data:
            if not moving:
                raise _changed(path)
            data = _ZEROS[:left]
        left -= len(data)
        yield data
    if not moving and os.read(fd, 1):
        raise _changed(path)


def _sparse_content(fd: int, path: bytes, size: int, moving: bool) -> Iterator[bytes]:
    at = 0
    while at < size:
        try:
            begin = min(os.lseek(fd, at, os.SEEK_DATA), size)
            end = min(os.lseek(fd, begin, os.SEEK_HOLE), size) if begin < size else size
        except OSError:  # ENXIO: no data from here on
            begin = end = size
        while at < begin:
            zeros = _ZEROS if begin - at >= _PIECE_BYTES else _ZEROS[: begin - at]
            at += len(zeros)
            yield zeros
        while at < end:
            data = os.pread(fd, min(end - at, _PIECE_BYTES), at)
            if not data:
                if not moving:
                    raise _changed(path)
                data = _ZEROS[: end - at]
            at += len(data)
            yield data
    if not moving and os.fstat(fd).st_size != size:
        raise _changed(path)


def _changed(path: bytes) -> Conflict:
    return Conflict(
        f"the file {os.fsdecode(path)!r} changed while its layer was made",
        hint="Something still writes to it: stop that (or pause the container) and run it again.",
    )
