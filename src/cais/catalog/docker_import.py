"""Taking over what a docker-registry has stored: every blob, manifest and tag, verified.

It can be repeated, and then takes over what is new: first while the old registry serves, then once more when it does
not. What cannot be taken over is said, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial

from cais.catalog.backup import store_file
from cais.catalog.errors import CatalogError, ManifestBlobUnknown
from cais.catalog.manifests import Manifests
from cais.catalog.turns import without_collector
from cais.errors import CaisError, Corrupt, Denied, NotFound, from_os_error
from cais.records import blobs, manifests, repositories, tags
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from cais.blobs.port import Blobs, Location
    from cais.catalog.docker_storage import DockerStorage
    from cais.catalog.settings import CatalogSettings
    from cais.records.database import Database
    from cais.spec.digest import Digest


_PIECE_BYTES = 1 << 20


class Imported(NamedTuple):
    """``blob_bytes`` are those of ``blobs``, which were not here before. ``left_out``: what, and why."""

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    left_out: tuple[str, ...] = ()


class DockerImport:
    """``link``: files are linked instead of copied where the store can do that."""

    def __init__(
        self, settings: CatalogSettings, database: Database, store: Blobs, source: DockerStorage, *, link: bool
    ) -> None:
        self._database, self._store, self._source = database, store, source
        self._manifests, self._public, self._link = Manifests(settings, database), settings.access.public, link
        self._done = Imported()
        self._left_out: list[str] = []

    def run(self, say: Callable[[str], None]) -> Imported:
        """Takes over everything; ``say`` is told each repository. Raises Unavailable, Denied."""
        with without_collector(self._database) as hold:
            for repository in self._source.repositories():
                say(repository)
                self._blobs(repository, hold)
                self._documents(repository)
                self._tags(repository)
                self._done = self._done._replace(repositories=self._done.repositories + 1)
        return self._done._replace(left_out=(*self._left_out, *self._source.odd))

    def _blobs(self, repository: str, hold: Callable[[], None]) -> None:
        for digest in self._source.blobs(repository):
            hold()
            try:
                self._blob(repository, digest)
            except (Corrupt, NotFound, Denied) as error:
                self._leave_out(f"{repository}@{digest}", error)

    def _blob(self, repository: str, digest: Digest) -> None:
        """The repository has the blob. Raises Corrupt, NotFound, Denied, Unavailable."""
        with self._database.reading() as connection:
            known = blobs.is_stored(connection, digest)
        location: Location | None = None
        size = 0
        if not known:
            path = self._source.blob_path(digest)
            try:
                size = os.stat(path).st_size
            except OSError as error:
                raise from_os_error(error, "read it")
            location = self._stored(path, digest)
            self._done = self._done._replace(blobs=self._done.blobs + 1, blob_bytes=self._done.blob_bytes + size)

        def write(connection: Connection) -> None:
            if location is not None and not blobs.add(self._database, connection, digest, size, location):
                blobs.throw_away(connection, location)
            repository_id = repositories.ensure(self._database, connection, repository, public=self._public)
            blobs.link(self._database, connection, repository_id, digest)

        self._database.write(write)

    def _stored(self, path: str, digest: Digest) -> Location:
        if self._link:
            seen = hashlib.new(digest.algorithm)
            try:
                with open(path, "rb", buffering=0) as file:
                    while piece := file.read(_PIECE_BYTES):
                        seen.update(piece)
            except OSError as error:
                raise from_os_error(error, "read it")
            if seen.hexdigest() != digest.hex:
                raise Corrupt(f"{path} is not {digest}: its bytes have changed")
            location = self._store.adopt(path, digest)
            if location is not None:
                return location
        return store_file(self._store, path, digest)

    def _documents(self, repository: str) -> None:
        """Manifests before the indexes that list them: whichever can be put, until no more can."""
        waiting = list(self._source.manifests(repository))
        while waiting:
            later: dict[Digest, CaisError] = {}
            for digest in waiting:
                try:
                    with open(self._source.blob_path(digest), "rb") as file:
                        content = file.read(self._manifests.limit_bytes + 1)
                    self._manifests.put(repository, content, "", digest=digest)
                    self._done = self._done._replace(manifests=self._done.manifests + 1)
                except ManifestBlobUnknown as error:
                    later[digest] = error
                except CatalogError as error:
                    self._leave_out(f"{repository}@{digest}", error)
                except OSError as error:
                    self._leave_out(f"{repository}@{digest}", from_os_error(error, "read it"))
            if len(later) == len(waiting):
                for digest, missing in later.items():
                    self._leave_out(f"{repository}@{digest}", missing)
                return
            waiting = list(later)

    def _tags(self, repository: str) -> None:
        for tag, digest in self._source.tags(repository):
            if self._database.write(partial(self._tag, repository, tag, digest)):
                self._done = self._done._replace(tags=self._done.tags + 1)
            else:
                self._left_out.append(f"{repository}:{tag}: its manifest {digest} was left out")

    def _tag(self, repository: str, tag: str, digest: Digest, connection: Connection) -> bool:
        found = repositories.find(self._database, connection, repository)
        if found is None or not manifests.renew(connection, found, [digest]):
            return False
        tags.put(self._database, connection, found, tag, digest)
        return True

    def _leave_out(self, what: str, error: CaisError) -> None:
        self._left_out.append(f"{what}: {error.message}")
