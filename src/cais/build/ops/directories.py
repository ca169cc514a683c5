"""WORKDIR: a directory of the image, made with its missing parents."""

from __future__ import annotations

import time

from cais.build.graph import MakeDirectory
from cais.build.ops.owners import find_owner
from cais.build.ops.target import Target
from cais.build.tree import shown
from cais.errors import from_os_error
from cais.host.files import cleaned


def make_directory(op: MakeDirectory, target: Target | str, *, modified: int | None = None) -> tuple[str, ...]:
    """Makes ``op.path`` in ``target`` (or the file system mounted there): what is new is 0755 and ``op.user``'s.

    Links are followed inside the root. ``modified``: the time (ns) of what is new, now by default. Returns notes for
    the user. Raises Invalid where a part of the path is no directory.
    """
    if isinstance(target, str):
        with Target(target) as opened:
            return make_directory(op, opened, modified=modified)
    try:
        owner = (0, 0)
        notes: tuple[str, ...] = ()
        path = cleaned(op.path)
        if op.user and target.resolve(path).status is None:
            found = find_owner(op.user, target)
            owner, notes = found[:2], found.notes
        target.make_directories(path, owner)
        target.settle(modified if modified is not None else time.time_ns())
        return notes
    except OSError as error:
        raise from_os_error(error, f"make the directory {shown(op.path)}")
