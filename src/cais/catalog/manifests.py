"""Manifests: put, get, delete; and referrers, the manifests that are about another one."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from cais.catalog.documents import read
from cais.catalog.errors import (
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
)
from cais.records import blobs, repositories, tags
from cais.records import manifests as rows
from cais.records.manifests import ManifestRow as ManifestRow
from cais.records.manifests import ReferrerRow as ReferrerRow
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cais.catalog.settings import CatalogSettings
    from cais.records.database import Database

_CACHE_BYTES = 16 << 20
_REFERRERS_PAGE = 1000


class Stored(NamedTuple):
    """A manifest that was put."""

    digest: Digest
    subject: str | None


class Manifests:
    def __init__(self, settings: CatalogSettings, database: Database) -> None:
        self.limit_bytes = settings.manifest_limit_bytes
        self._database, self._public = database, settings.access.public
        self._contents = _Contents()

    def put(
        self, repository: str, content: bytes, media_type: str, *, tag: str = "", digest: Digest | None = None
    ) -> Stored:
        """Below its digest, and ``tag`` if there is one. ``digest`` is what the client says that it is.

        Raises ManifestInvalid, ManifestTooLarge, DigestInvalid, ManifestBlobUnknown (it refers to what the repository
        has not).
        """
        if len(content) > self.limit_bytes:
            raise ManifestTooLarge(f"a manifest has at most {self.limit_bytes} bytes here")
        algorithm = "sha256" if digest is None else digest.algorithm
        found = Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")
        if digest is not None and digest != found:
            raise DigestInvalid("provided digest did not match uploaded content", {"digest": digest, "content": found})
        manifest = read(content, media_type, found)

        def write(connection: Connection) -> None:
            repository_id = repositories.ensure(self._database, connection, repository, public=self._public)
            _check_references(connection, repository_id, manifest)
            rows.add(self._database, connection, repository_id, manifest)
            if tag:
                tags.put(self._database, connection, repository_id, tag, found)

        self._database.write(write)
        return Stored(found, manifest.subject_digest)

    def find(self, repository: str, reference: str) -> rows.ManifestRow:
        """``reference`` is a tag or a digest. Raises ManifestUnknown."""
        with self._database.reading() as connection:
            row = rows.find(connection, repository, reference)
        if row is None:
            raise _unknown(reference)
        return row

    def get(self, repository: str, reference: str) -> tuple[rows.ManifestRow, bytes]:
        """The manifest and its bytes. Raises ManifestUnknown."""
        with self._database.reading() as connection:
            row = rows.find(connection, repository, reference)
            if row is None:
                raise _unknown(reference)
            content = self._contents.get(row.digest)
            if content is None:
                content = rows.content(connection, row.digest)
                if content is None:
                    raise _unknown(reference)
                self._contents.keep(row.digest, content)
        return row, content

    def delete(self, repository: str, digest: Digest) -> None:
        """Takes it and the tags that name it from the repository. Raises ManifestUnknown, NameUnknown."""

        def write(connection: Connection) -> bool:
            found = repositories.find(connection, repository)
            if found is None:
                raise NameUnknown(f"repository {repository} is not known", {"name": repository})
            return rows.unlink(connection, found, digest)

        if not self._database.write(write):
            raise _unknown(digest)

    def referrers(self, repository: str, subject: Digest, behind: str = "") -> tuple[list[rows.ReferrerRow], bool]:
        """A page of the manifests about ``subject`` behind the digest ``behind``, and whether there are more."""
        with self._database.reading() as connection:
            found = rows.referrers(connection, repository, subject, behind, _REFERRERS_PAGE + 1)
        return found[:_REFERRERS_PAGE], len(found) > _REFERRERS_PAGE


class _Contents:
    """The bytes of manifests that were asked for last: what a digest names never changes."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes | None:
        with self._lock:
            content = self._known.get(digest)
            if content is not None:
                self._known.move_to_end(digest)
            return content

    def keep(self, digest: str, content: bytes) -> None:
        with self._lock:
            if digest in self._known:
                return
            self._known[digest] = content
            self._size_bytes += len(content)
            while self._size_bytes > _CACHE_BYTES:
                self._size_bytes -= len(self._known.popitem(last=False)[1])


def _check_references(connection: Connection, repository_id: int, manifest: rows.NewManifest) -> None:
    """A subject may come later (distribution-spec, pushing manifests with subject); the rest must be there."""
    if any(child == manifest.digest for _, child in manifest.references):
        raise ManifestInvalid("manifest invalid: it refers to itself")
    children = {child for kind, child in manifest.references if kind == "manifest"}
    parts = {child for kind, child in manifest.references if kind in ("config", "layer")}
    missing = (parts - blobs.renew(connection, repository_id, parts)) | (
        children - rows.renew(connection, repository_id, children)
    )
    if missing:
        raise ManifestBlobUnknown(
            "manifest references a manifest or blob unknown to registry", [{"digest": one} for one in sorted(missing)]
        )


def _unknown(reference: str) -> ManifestUnknown:
    return ManifestUnknown("manifest unknown to registry", {"reference": reference})
