"""Tree: a directory that is looked at as a root. Nothing outside it is ever reached, whatever links it holds.

Paths are relative to the root, without a leading slash; the root itself is "". They are ``str`` as the file system
encoding decodes them (``surrogateescape``), so that names of any bytes come through.
"""

from __future__ import annotations

import errno
import os
import stat

from cais.errors import Invalid, NotFound, from_os_error
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

# As many links as BuildKit follows; the kernel's own limit is 40.
MAX_LINKS = 255
# Parts of a path that are opened one by one rather than by openat2, which has to be loaded.
_FEW = 4
_BENEATH = 0x04 | 0x08  # RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A path that became a FIFO must not hang, a terminal must not become ours.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Resolved(NamedTuple):
    """``path`` holds no link, but for its last name when that was not to be followed. ``status`` is None: not there.

    ``left`` is the link, and what it says, that pointed out of the root and was held back there, or "".
    """

    path: str
    status: os.stat_result | None
    left: str = ""


class Tree:
    """``path`` is opened at once and stays open. Raises NotFound, Invalid (no directory), Denied."""

    __slots__ = ("descriptor", "path")

    def __init__(self, path: str | bytes) -> None:
        self.path = os.fsdecode(path)
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError:
            raise Invalid(f"{shown(self.path)} is not a directory")
        except FileNotFoundError:
            raise NotFound(f"path {shown(self.path)} not found")
        except OSError as error:
            raise from_os_error(error, "open a directory")

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(self, path: str, flags: int = DIRECTORY, mode: int = 0) -> int:
        """Opens ``path``, no part of which may be a link. Raises OSError (ELOOP for a link)."""
        return open_beneath(self.descriptor, path, flags, mode)

    def open_file(self, path: str, flags: int = FILE) -> int:
        """Opens a file to be read; a subclass may look in more than one place."""
        return self.open(path, flags)

    def status(self, path: str) -> os.stat_result | None:
        """lstat; None where nothing is."""
        try:
            handle = self.open(path, HANDLE)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.fstat(handle)
        finally:
            os.close(handle)

    def link(self, path: str) -> str:
        """What the symbolic link ``path`` says."""
        handle = self.open(path, HANDLE)
        try:
            return os.readlink("", dir_fd=handle)
        finally:
            os.close(handle)

    def resolve(self, path: str, *, follow_last: bool = True, base: str = "") -> Resolved:
        """Follows links with the tree as the root: ``..`` stops there and absolute links begin there.

        ``base`` is a resolved directory that is taken for the root instead, and to which ``path`` is relative. What is
        missing is taken as it is written, so that the result says where it would be made. Raises Invalid for a loop.
        """
        top = base.split("/") if base else []
        done = list(top)
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        status = self.status(base)
        links, left = 0, ""
        while pending:
            part = pending.pop()
            if part == "..":
                if len(done) > len(top):
                    done.pop()
                status = self.status("/".join(done))
                continue
            done.append(part)
            if status is None or not stat.S_ISDIR(status.st_mode):
                status = None
                continue
            here = "/".join(done)
            status = self.status(here)
            if status is None or not stat.S_ISLNK(status.st_mode) or not (pending or follow_last):
                continue
            links += 1
            if links > MAX_LINKS:
                raise Invalid(f"{shown(path)}: too many links", hint="Its symbolic links lead round in a circle.")
            target = self.link(here)
            if _leaves(done, target):
                left = f"{shown(here)} -> {shown(target)}"
            done.pop()
            if target.startswith("/"):
                done = list(top)
            status = self.status("/".join(done))
            pending.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
        return Resolved("/".join(done), status, left)


def _leaves(link: list[str], target: str) -> bool:
    """Whether a link at ``link`` that says ``target`` points above the root, read as the host would read it."""
    if target.startswith("/"):
        return True
    depth = len(link) - 1
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False


def open_beneath(descriptor: int, path: str, flags: int = DIRECTORY, mode: int = 0) -> int:
    """Opens ``path`` below ``descriptor``; no part of it may be a link or lead out. Raises OSError."""
    if "/../" in f"/{path}/":
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if "/" not in path:
        # One name: the plain call is as safe, and quicker.
        return os.open(path or ".", flags | os.O_NOFOLLOW, mode, dir_fd=descriptor)
    if path.count("/") < _FEW:
        return _open_by_steps(descriptor, path, flags, mode)
    from cais.host.syscalls import openat2

    try:
        return openat2(descriptor, path, flags | os.O_NOFOLLOW, _BENEATH, mode)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    return _open_by_steps(descriptor, path, flags, mode)


def _open_by_steps(descriptor: int, path: str, flags: int, mode: int) -> int:
    """One open for each part: what spares shallow trees ctypes, and all there is before Linux 5.6."""
    *parents, last = path.split("/")
    current = descriptor
    try:
        for part in parents:
            following = os.open(part, HANDLE | os.O_DIRECTORY, dir_fd=current)
            if current != descriptor:
                os.close(current)
            current = following
        return os.open(last, flags | os.O_NOFOLLOW, mode, dir_fd=current)
    finally:
        if current != descriptor:
            os.close(current)


def shown(path: str) -> str:
    """``path`` in double quotes, printable: control characters and bytes that are no text are escaped."""
    text = path.replace("\\", "\\\\").replace('"', '\\"')
    if text.isprintable():
        return f'"{text}"'
    escaped = []
    for character in text:
        code = ord(character)
        if character.isprintable():
            escaped.append(character)
        elif character == "\n":
            escaped.append("\\n")
        elif 0xDC80 <= code <= 0xDCFF:
            escaped.append(f"\\x{code - 0xDC00:02x}")
        else:
            escaped.append(f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}")
    return '"' + "".join(escaped) + '"'
