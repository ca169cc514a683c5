"""Hard links of a stage: names of one file that are copied stay names of one file."""

from __future__ import annotations

import os
from collections.abc import Callable

from cais.build.hashing import read_error
from cais.build.ops.files import make_way
from cais.build.ops.target import Target
from cais.build.selection import Row, Selection, Source

# Copies one file of the selection to a path of the target.
One = Callable[[Selection, str, Row, str], None]


class HardLinks:
    """``later`` are, for each directory of the selection, the names that are made last, each once or as a link."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._groups = [paths for paths in selection.links.values() if len(paths) > 1]
        self.later: dict[str, set[str]] = {}
        for paths in self._groups:
            for path in paths:
                directory, _, name = path.rpartition("/")
                self.later.setdefault(directory, set()).add(name)

    def make(self, source: Source, root: str, one: One, target: Target) -> int:
        """Makes those of ``source``, which went to ``root``, the first name by ``one``; says how many were linked."""
        prefix = f"{source.path}/" if source.path else ""
        linked = 0
        for paths in self._groups:
            names = sorted({path for path in paths if path.startswith(prefix)})
            if not names:
                continue
            first, *others = ("/".join(filter(None, (root, name[len(prefix) :]))) for name in names)
            one(self._selection, names[0], self._entry(names[0]), first)
            for other in others:
                _link(target, first, other)
            linked += len(others)
        return linked

    def _entry(self, path: str) -> Row:
        status = self._selection.tree.status(path)
        if status is None:
            raise read_error(FileNotFoundError(2, "", path), path)
        return (
            path.rpartition("/")[2],
            status.st_mode,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            status.st_uid | status.st_gid << 32,
            status.st_dev,
        )


def _link(target: Target, first: str, path: str) -> None:
    directory, _, name = first.rpartition("/")
    source = target.place(directory)
    try:
        directory, _, last = path.rpartition("/")
        place = target.place(directory)
        try:
            make_way(place, last, path)
            os.link(name, last, src_dir_fd=source.descriptor, dst_dir_fd=place.descriptor, follow_symlinks=False)
        finally:
            place.close()
    finally:
        source.close()
