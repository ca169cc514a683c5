"""Mount points inside a root file system: made where they are missing, and taken away again without a trace.

The runtime would make them, too, and leave them behind as part of the layer. The root file system may be hostile: every
path is resolved by the kernel with the root as its bound.
"""

from __future__ import annotations

import errno
import os
import stat

from cais.errors import Invalid, from_os_error
from cais.host import syscalls
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_LINKS_LIMIT = 40
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Made(NamedTuple):
    """A stub: ``path`` inside the root, and whether it is a directory."""

    path: str
    is_directory: bool


def prepare(rootfs: str, targets: Sequence[tuple[str, bool]]) -> tuple[Made, ...]:
    """Makes what is missing of ``(path, is_directory)``, parents first. Times of the parents stay as they were.

    Raises Invalid where something else is in the way, Failed and the like where the file system refuses.
    """
    made: list[Made] = []
    root = os.open(rootfs, _DIRECTORY | os.O_CLOEXEC)
    try:
        for path, is_directory in targets:
            _prepare_one(root, path, is_directory, made)
    except OSError as error:
        raise from_os_error(error, "make a mount point")
    finally:
        os.close(root)
    return tuple(made)


def make_directory(rootfs: str, path: str, user_id: int = 0, group_id: int = 0) -> None:
    """A directory that stays (a working directory), mode 0755; new parents are alike. Raises Invalid, Failed, ..."""
    made: list[Made] = []
    root = os.open(rootfs, _DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            _prepare_one(root, path, True, made, keep_times=False)
        except Invalid:
            raise Invalid(f"Cannot mkdir: {path} is not a directory", exit_code=125)
        for item in made:
            if (user_id, group_id) != (0, 0):
                descriptor = syscalls.openat2(root, item.path, os.O_RDONLY | os.O_DIRECTORY, _RESOLVE)
                try:
                    os.fchown(descriptor, user_id, group_id)
                finally:
                    os.close(descriptor)
    except OSError as error:
        raise from_os_error(error, f"make the directory {path}")
    finally:
        os.close(root)


def _prepare_one(root: int, path: str, is_directory: bool, made: list[Made], keep_times: bool = True) -> None:
    names = [name for name in path.split("/") if name and name != "."]
    if ".." in names:
        raise Invalid(f"invalid mount path {path!r}: it has a '..'")
    try:
        found = syscalls.openat2(root, path, os.O_PATH, _RESOLVE)
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise Invalid(f"cannot mount at {path}: a component of the path is a file")
        if error.errno != errno.ENOENT:
            raise
    else:
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode) != is_directory:
                kinds = ("a directory", "a file") if is_directory else ("a file", "a directory")
                raise Invalid(
                    f"cannot mount {kinds[0]} at {path}: it is {kinds[1]} in the image",
                    hint="Are you trying to mount a directory onto a file (or vice-versa)?",
                )
        finally:
            os.close(found)
        return
    done: list[str] = []
    links = 0
    while names:
        name = names.pop(0)
        if name == "..":
            done = done[:-1]
            continue
        last = not names
        parent = syscalls.openat2(root, "/" + "/".join(done), _DIRECTORY, _RESOLVE)
        try:
            here = "/" + "/".join([*done, name])
            target = _link(parent, name)
            if target is not None:
                # Links are followed where they lead nowhere, too: what they name is made.
                links += 1
                if links > _LINKS_LIMIT:
                    raise Invalid(f"cannot mount at {path}: too many symbolic links")
                names = [part for part in target.split("/") if part not in ("", ".")] + names
                done = [] if target.startswith("/") else done
                continue
            if not os.path.lexists(f"/proc/self/fd/{parent}/{name}"):
                _make(parent, name, is_directory or not last, here, keep_times)
                made.append(Made(here, is_directory or not last))
            done.append(name)
        finally:
            os.close(parent)


def _link(parent: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _make(parent: int, name: str, is_directory: bool, path: str, keep_times: bool) -> None:
    here = f"/proc/self/fd/{parent}"
    before = os.stat(here)
    try:
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o755, dir_fd=parent))
    except FileExistsError:
        raise Invalid(f"cannot mount at {path}: something else was made there meanwhile")
    if keep_times:
        os.utime(here, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(rootfs: str, made: Sequence[Made]) -> None:
    """Takes away the stubs that are still empty; the times of their parents stay. What is gone is no error."""
    root = os.open(rootfs, _DIRECTORY | os.O_CLOEXEC)
    try:
        for item in reversed(made):
            directory, _, name = item.path.rpartition("/")
            try:
                parent = syscalls.openat2(root, directory or "/", _DIRECTORY, _RESOLVE)
            except OSError:
                continue
            try:
                _remove_one(parent, name, item.is_directory)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EBUSY):
                    raise from_os_error(error, f"remove the mount point {item.path}")
            finally:
                os.close(parent)
    finally:
        os.close(root)


def _remove_one(parent: int, name: str, is_directory: bool) -> None:
    here = f"/proc/self/fd/{parent}"
    before = os.stat(here)
    if is_directory:
        os.rmdir(name, dir_fd=parent)
    else:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            return
        os.unlink(name, dir_fd=parent)
    os.utime(here, ns=(before.st_atime_ns, before.st_mtime_ns))
