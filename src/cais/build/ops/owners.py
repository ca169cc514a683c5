"""Users and groups by the names that the image's own /etc/passwd and /etc/group give them."""

from __future__ import annotations

import os
import stat

from cais.build.tree import FILE, Tree, shown
from cais.errors import Invalid
from cais.spec.named import NamedTuple

_MAX_BYTES = 16 << 20
_MAX_ID = 0xFFFFFFFE


class Owner(NamedTuple):
    """``notes``: what the user should know, such as a name that the image does not have."""

    uid: int
    gid: int
    notes: tuple[str, ...] = ()


def find_owner(text: str, root: Tree) -> Owner:
    """``user[:group]``, each by name or number. A user by name has its primary group; a user by number, the group of
    the same number; with a colon and nothing behind it, it is root's.

    A name that the image's files do not have is root, as for BuildKit, and a note; without any /etc/passwd it is an
    error. Raises Invalid.
    """
    user, colon, group = text.partition(":")
    notes: list[str] = []
    uid = gid = 0
    if user:
        number = _number(user, text)
        if number is not None:
            uid = gid = number
        elif user != "root" or _read(root, "etc/passwd") is not None:
            row = _row(root, "etc/passwd", user, text, 4)
            if row is None:
                notes.append(f"there is no user {shown(user)} in the image's /etc/passwd: root (0:0) is the owner")
            else:
                uid, gid = row
    if group:
        number = _number(group, text)
        if number is not None:
            gid = number
        elif group != "root" or _read(root, "etc/group") is not None:
            row = _row(root, "etc/group", group, text, 3)
            if row is None:
                notes.append(f"there is no group {shown(group)} in the image's /etc/group: the group is {gid}")
            else:
                gid = row[0]
    elif colon:
        gid = 0
    return Owner(uid, gid, tuple(notes))


def _number(text: str, whole: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text) if len(text) < 12 else _MAX_ID + 1
    if number > _MAX_ID:
        raise Invalid(f"invalid owner {shown(whole)}: {text[:40]} is more than {_MAX_ID}")
    return number


def _row(root: Tree, path: str, name: str, whole: str, least: int) -> tuple[int, int] | None:
    """``(third, fourth)`` field of the first line that begins with ``name``, as numbers; None without such a line."""
    data = _read(root, path)
    if data is None:
        raise Invalid(
            f"the owner {shown(whole)} is a name, and the image has no /{path} to look it up in",
            hint="Use numbers: --chown=1000:1000.",
        )
    wanted = os.fsencode(name)
    for line in data.splitlines():
        fields = line.strip().split(b":")
        if fields[0] != wanted or len(fields) < least:
            continue
        numbers = [int(field) if field.isdigit() and len(field) < 12 else -1 for field in fields[2:4]]
        third = numbers[0]
        fourth = numbers[1] if least == 4 else 0
        if 0 <= third <= _MAX_ID and 0 <= fourth <= _MAX_ID:
            return third, fourth
    return None


def _read(root: Tree, path: str) -> bytes | None:
    """A file of the image, links followed inside its root; None when it is no regular file."""
    resolved = root.resolve(path)
    if resolved.status is None or not stat.S_ISREG(resolved.status.st_mode):
        return None
    descriptor = root.open_file(resolved.path, FILE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        pieces = []
        left = _MAX_BYTES
        while left > 0 and (piece := os.read(descriptor, min(left, 1 << 20))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)
