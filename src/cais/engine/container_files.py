"""Files of containers: copied in and out, listed by what changed, exported."""

from __future__ import annotations

from contextlib import contextmanager

from cais.container.records import ContainerRecord, ContainerRecords
from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from cais.container.copy import Wanted

_PIECE_BYTES = 1 << 20


class ContainerFiles:
    """The files of the containers of one root directory; of running ones and of others."""

    def __init__(self, stores: Stores, runs: ContainerRuns) -> None:
        self._stores = stores
        self._runs = runs

    def copy_out(
        self, id: str, path: str, local: str, *, follow: bool = False, archive: bool = False,
        counted: Callable[[int], None] | None = None,
    ) -> str:  # fmt: skip
        """Copies ``path`` of a container to this host's ``local``; returns the full path of that.

        ``follow``: a symbolic link at ``path`` stands for what it points at. ``archive``: owners are kept, else all
        belongs to this user. ``counted`` is told the bytes. Raises NotFound, Invalid, Denied, Unavailable (no space).
        """
        from cais.container import copy
        from cais.container.files import Files

        with self._told("archive-path", id) as record, Files(self._runs.store, record) as files:
            return copy.copy_out(files, path, local, _wanted(id, follow, archive, counted))

    def copy_in(
        self, id: str, local: str, path: str, *, follow: bool = False, archive: bool = False,
        counted: Callable[[int], None] | None = None,
    ) -> str:  # fmt: skip
        """Copies this host's ``local`` to ``path`` of a container; returns that without links at its end.

        ``archive``: all belongs to the container's user, else owners are kept. Raises as ``copy_out``.
        """
        from cais.container import copy
        from cais.container.files import Files

        with self._told("extract-to-dir", id) as record, Files(self._runs.store, record) as files:
            return copy.copy_in(files, local, path, _wanted(id, follow, archive, counted))

    def archive(self, id: str, path: str, file: BinaryIO, *, follow: bool = False) -> None:
        """Writes a tar archive of ``path`` of a container. Raises NotFound, Invalid, Denied."""
        from cais.container import copy
        from cais.container.files import Files

        with self._told("archive-path", id) as record, Files(self._runs.store, record) as files:
            for piece in copy.archive(files, path, _wanted(id, follow)):
                file.write(piece)
            file.flush()

    def extract(self, id: str, file: BinaryIO, path: str, *, archive: bool = False) -> None:
        """Unpacks a tar archive into the directory ``path`` of a container. Raises NotFound, Invalid, Corrupt, ..."""
        from cais.container import copy
        from cais.container.files import Files

        def pieces() -> Iterator[bytes]:
            while piece := file.read(_PIECE_BYTES):
                yield piece

        with self._told("extract-to-dir", id) as record, Files(self._runs.store, record) as files:
            copy.extract(files, pieces(), path, _wanted(id, archive=archive))

    def diff(self, id: str) -> list[tuple[str, str]]:
        """What a container changed: (``A``, ``C`` or ``D``, path). Raises NotFound."""
        from cais.container.diff import diff

        record = self._records.get(id)
        self._runs.enter()
        return diff(self._runs.store.rooms, record)

    def export(self, id: str, file: BinaryIO) -> None:
        """Writes the file system of a container, without what is mounted, as a tar archive. Raises NotFound."""
        from cais.container.export import export

        record = self._records.get(id)
        self._runs.enter()
        for piece in export(self._runs.store.rooms, record):
            file.write(piece)
        file.flush()
        self._runs.store.happenings.container("export", record)

    @contextmanager
    def _told(self, action: str, id: str) -> Iterator[ContainerRecord]:
        """The container of ``id``; what was done with it is told when it has come true. Raises NotFound."""
        record = self._records.get(id)
        self._runs.enter_beside(record)
        yield record
        self._runs.store.happenings.container(action, record)

    @property
    def _records(self) -> ContainerRecords:
        return ContainerRecords(self._stores.database)


def _wanted(
    id: str, follow: bool = False, archive: bool = False, counted: Callable[[int], None] | None = None
) -> Wanted:
    from cais.container.copy import Wanted

    return Wanted(id, follow, archive, counted)
