"""Files of volumes: copied in and out without a container, by the rules of ``container cp``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from cais.container.copy import Wanted, archive, copy_in, copy_out, extract
from cais.container.files import Root
from cais.container.plan import Plan
from cais.engine.stores import Stores
from cais.engine.volume_archives import opened
from cais.errors import Invalid, from_os_error
from cais.volume.snapshots import split
from cais.volume.store import VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    Counted = Callable[[int], None]

_PIECE_BYTES = 1 << 20


class _Tree(Root):
    """``with``: the files of ``VOLUME[@SNAPSHOT]``; until its end nobody replaces them."""

    kind = "volume"

    def __init__(self, stores: Stores, store: VolumeStore, name: str) -> None:
        super().__init__(Plan())
        self._stores, self._store, self._name = stores, store, name

    def __enter__(self) -> _Tree:
        volume, snapshot = split(self._name)
        path = opened(self._stores, self._store, self._name)
        if not snapshot:
            self._store.use(volume)
        try:
            self.root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._store.let_go()
            raise from_os_error(error, f"open the files of the volume {self._name}")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.root)
        self._store.let_go()

    def check_writable(self, directory: int) -> None:
        if "@" in self._name:
            raise Invalid(f"{self._name} is a snapshot, which stays as it is", hint="Clone it: cais volume clone")
        super().check_writable(directory)


class VolumeFiles:
    """As ``ContainerFiles``, for the volumes of one root directory: ``name`` is ``VOLUME[@SNAPSHOT]``."""

    def __init__(self, stores: Stores, store: VolumeStore) -> None:
        self._stores = stores
        self._store = store

    def copy_out(
        self, name: str, path: str, local: str, *, follow: bool = False, archive: bool = False,
        counted: Counted | None = None,
    ) -> str:  # fmt: skip
        """Copies ``path`` of a volume to this host's ``local``; returns the full path of that.

        ``follow``: a symbolic link at ``path`` stands for what it points at. ``archive``: owners are kept, else all
        belongs to this user. ``counted`` is told the bytes. Raises NotFound, Invalid, Denied, Unavailable (no space).
        """
        with _Tree(self._stores, self._store, name) as tree:
            return copy_out(tree, path, local, Wanted(name, follow, archive, counted))

    def copy_in(
        self, name: str, local: str, path: str, *, follow: bool = False, archive: bool = False,
        counted: Counted | None = None,
    ) -> str:  # fmt: skip
        """Copies this host's ``local`` to ``path`` of a volume, with owners. Raises as ``copy_out``."""
        with _Tree(self._stores, self._store, name) as tree:
            return copy_in(tree, local, path, Wanted(name, follow, archive, counted))

    def archive(self, name: str, path: str, file: BinaryIO, *, follow: bool = False) -> None:
        """Writes a tar archive of ``path`` of a volume. Raises NotFound, Invalid, Denied."""
        with _Tree(self._stores, self._store, name) as tree:
            for piece in archive(tree, path, Wanted(name, follow)):
                file.write(piece)
            file.flush()

    def extract(self, name: str, file: BinaryIO, path: str, *, archive: bool = False) -> None:
        """Unpacks a tar archive into the directory ``path`` of a volume. Raises NotFound, Invalid, Corrupt, ..."""

        def pieces() -> Iterator[bytes]:
            while piece := file.read(_PIECE_BYTES):
                yield piece

        with _Tree(self._stores, self._store, name) as tree:
            extract(tree, pieces(), path, Wanted(name, archive=archive))
