"""Reuse: files of an earlier result of the same COPY that are still the same are linked instead of copied.

A committed layer's files never change, so that two layers may share them; what is linked is only what a copy would have
made exactly so: content, mode, owner, time, extended attributes.
"""

from __future__ import annotations

import errno
import os
import stat

from cais.build.hashing import read_digests
from cais.build.listing import DIGEST_BYTES, digests_by_directory
from cais.build.ops.files import Writer
from cais.build.ops.target import Place
from cais.build.selection import Row, Selection
from cais.build.stat_cache import StatCache
from cais.build.tree import DIRECTORY, Tree


class Reuse:
    """``layer`` is the directory of the earlier result's layer, made by an op with the same sources, destination and
    flags; ``listing`` is that of the selection it copied; ``epoch`` is the second that newer times become.

    The files of ``layer`` and of the target must be on one file system. ``cache`` is the context's.
    """

    def __init__(self, layer: str, listing: bytes, *, epoch: int | None = None, cache: StatCache | None = None) -> None:
        self._tree = Tree(layer)
        self._old = digests_by_directory(listing)
        self._epoch = epoch
        self._cache = cache
        self._off = self._old is None

    def close(self) -> None:
        self._tree.close()

    def prepare(self, selection: Selection) -> None:
        """Before the first ``link``: with several sources one file may cover another, and nothing is linked."""
        if len(selection.sources) != 1:
            self._off = True
        if not self._off:
            read_digests(selection, self._cache)

    def link(
        self, selection: Selection, number: int, entries: list[Row], place: Place, path: str, writer: Writer
    ) -> list[Row]:
        """Links what is the same of directory ``number``; returns the entries that are not."""
        directory = selection.directories[number]
        old = self._old.get(directory.path) if self._old is not None else None
        if self._off or not old or place.below >= 0:
            return entries
        try:
            descriptor = self._tree.open(path, DIRECTORY)
        except OSError:
            return entries
        try:
            if os.fstat(descriptor).st_dev != os.fstat(place.descriptor).st_dev:
                return entries
            digests = selection.digests[number]
            places = {entry[0]: at for at, entry in enumerate(directory.entries())}
            left = []
            for entry in entries:
                name = entry[0]
                at = places[name] * 32
                known = old.get(name)
                if (
                    known is None
                    or entry[1] & 0o170000 != stat.S_IFREG
                    or known[2] != digests[at : at + DIGEST_BYTES]
                    or not self._same(descriptor, entry, writer)
                    or not _linked(descriptor, place, name)
                ):
                    left.append(entry)
            return left
        finally:
            os.close(descriptor)

    def _same(self, descriptor: int, entry: Row, writer: Writer) -> bool:
        name, mode, size, modified, _, _, owner, _ = entry
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return False
        if self._epoch is not None:
            modified = min(modified, self._epoch * 10**9)
        wanted = (mode & 0o170000) | writer.mode_of(mode)
        uid, gid = writer.owner or (owner & 0xFFFFFFFF, owner >> 32)
        return (
            status.st_mode == wanted
            and status.st_size == size
            and status.st_mtime_ns == modified
            and status.st_uid == uid
            and status.st_gid == gid
        )


def _linked(descriptor: int, place: Place, name: str) -> bool:
    try:
        os.link(name, name, src_dir_fd=descriptor, dst_dir_fd=place.descriptor, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True
