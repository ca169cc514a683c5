"""Users of a root file system: ``name|uid[:group|gid]`` looked up in its own /etc/passwd and /etc/group.

The files may be hostile: links are resolved inside the root, and only so much is read.
"""

from __future__ import annotations

import errno
import os

from cais.errors import CaisError, Invalid, NotFound, from_os_error
from cais.host import syscalls
from cais.spec.named import NamedTuple

_FILE_LIMIT_BYTES = 16 << 20
_ID_LIMIT = 1 << 31
_OUT_OF_RANGE = f"uids and gids must be in range 0-{_ID_LIMIT - 1}"


class User(NamedTuple):
    user_id: int = 0
    group_id: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"
    name: str = ""


def look_up(text: str, rootfs: str, group_add: tuple[str, ...] = ()) -> User:
    """``text`` is Docker's ``user[:group]`` ("" is root). Raises NotFound, Invalid, with Docker's words."""
    passwd = entries(rootfs, "etc/passwd")
    group = entries(rootfs, "etc/group")
    return find(text, passwd, group, group_add)


def find(text: str, passwd: list[list[str]], group: list[list[str]], group_add: tuple[str, ...] = ()) -> User:
    """Pure: the user among the lines of passwd(5) and group(5)."""
    user_part, _, group_part = text.partition(":")
    name, home, group_id, has_entry = "", "/", 0, False
    user_id = _number(user_part) if user_part else 0
    for fields in passwd:
        own_id = _number(fields[2]) if len(fields) > 3 else None
        if own_id is None:
            continue
        if fields[0] == user_part or (user_id is not None and fields[2] == str(user_id)):
            name, user_id, has_entry = fields[0], own_id, True
            group_id = _number(fields[3]) or 0
            home = (fields[5] if len(fields) > 5 else "") or "/"
            break
    if user_id is None and user_part[:1] == "-" and user_part[1:].isdigit():
        raise Invalid(_OUT_OF_RANGE, exit_code=125)
    if user_id is None:
        raise NotFound(f"unable to find user {user_part}: no matching entries in passwd file", exit_code=125)
    groups: list[int] = []
    # The primary group is among the additional ones, as in Docker: a set-group-ID program cannot shed it.
    if group_part:
        found = _group(group_part, group)
        if found is None:
            raise NotFound(f"unable to find group {group_part}: no matching entries in group file", exit_code=125)
        group_id = found
    elif has_entry:
        groups += [
            number
            for fields in group
            if len(fields) > 3 and name in fields[3].split(",") and (number := _number(fields[2])) is not None
        ]
    for item in group_add:
        found = _group(item, group)
        if found is None:
            raise NotFound(f"unable to find group {item}: no matching entries in group file", exit_code=125)
        groups.append(found)
    if not (0 <= user_id < _ID_LIMIT and 0 <= group_id < _ID_LIMIT):
        raise Invalid(_OUT_OF_RANGE, exit_code=125)
    return User(user_id, group_id, tuple(dict.fromkeys((group_id, *groups))), home, name)


def _group(text: str, group: list[list[str]]) -> int | None:
    for fields in group:
        if len(fields) > 2 and fields[0] == text and (number := _number(fields[2])) is not None:
            return number
    return _number(text)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def entries(rootfs: str, path: str) -> list[list[str]]:
    """The lines of a file inside ``rootfs``, split at colons; none where there is no such file."""
    data = read_inside(rootfs, path, _FILE_LIMIT_BYTES)
    if data is None:
        return []
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return [line.strip().split(":") for line in lines if line and not line.startswith("#")]


def read_inside(rootfs: str, path: str, limit_bytes: int) -> bytes | None:
    """A regular file of a root file system, links resolved inside it; None where there is none. Raises CaisError."""
    import stat

    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
        descriptor = syscalls.openat2(root, path, flags, resolve)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise _unreadable(error, path)
    finally:
        os.close(root)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        if os.fstat(descriptor).st_size <= limit_bytes:
            pieces: list[bytes] = []
            while piece := os.read(descriptor, 1 << 16):
                pieces.append(piece)
                if len(pieces) > limit_bytes >> 12:
                    break
            else:
                return b"".join(pieces)
    finally:
        os.close(descriptor)
    raise Invalid(f"/{path} of the image is larger than {limit_bytes >> 20} MiB")


def _unreadable(error: OSError, path: str) -> CaisError:
    return from_os_error(error, f"read /{path} of the image")
