"""Manifests: put, get, delete; and referrers, the manifests that are about another one."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict

from cais.catalog.documents import read
from cais.catalog.errors import (
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
)
from cais.records import blobs, repositories, tags, unneeded
from cais.records import manifests as rows
from cais.records.manifests import ManifestRow as ManifestRow
from cais.records.manifests import ReferrerRow as ReferrerRow
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from cais.catalog.settings import CatalogSettings
    from cais.records.database import Database

_CACHE_BYTES = 16 << 20
# A page of referrers: so many, and of manifests that are together no larger (their annotations are part of the answer).
_REFERRERS_PAGE = 500
_REFERRERS_PAGE_BYTES = 4 << 20


class Stored(NamedTuple):
    """A manifest that was put; ``missing`` are digests that it refers to and that its repository has not."""

    digest: Digest
    subject: str | None
    missing: list[str]


class Manifests:
    """Manifests of repositories (distribution-spec, pushing manifests), and those that are about another one."""

    def __init__(self, settings: CatalogSettings, database: Database) -> None:
        self.limit_bytes = settings.manifest_limit_bytes
        self._database, self._public = database, settings.access.public
        self._accept_missing = settings.accept_missing
        self._policy = settings.policy
        self._contents = _Contents()

    def put(
        self,
        repository: str,
        content: bytes,
        media_type: str,
        *,
        tagged: Sequence[str] = (),
        digest: Digest | None = None,
    ) -> Stored:
        """Below its digest, and each tag of ``tagged``. ``digest`` is what the client says that it is.

        Raises ManifestInvalid, ManifestTooLarge, DigestInvalid, ManifestBlobUnknown (it refers to what the repository
        has not).
        """
        if len(content) > self.limit_bytes:
            raise ManifestTooLarge(f"a manifest has at most {self.limit_bytes} bytes here")
        algorithm = "sha256" if digest is None else digest.algorithm
        found = Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")
        if digest is not None and digest != found:
            raise DigestInvalid("provided digest did not match uploaded content", {"digest": digest, "content": found})
        manifest = read(content, media_type, found, self.limit_bytes)

        def write(connection: Connection) -> list[str]:
            repository_id = repositories.ensure(self._database, connection, repository, public=self._public)
            missing = _missing(connection, repository_id, manifest)
            if missing and not self._accept_missing:
                raise ManifestBlobUnknown(missing)
            rows.add(self._database, connection, repository_id, manifest)
            for tag in tagged:
                tags.put(self._database, connection, repository_id, tag, found)
            return missing

        return Stored(found, manifest.subject_digest, self._database.write(write))

    def glance(self, repository: str, reference: str) -> tuple[rows.ManifestRow, bool]:
        """By a tag or digest; and whether the link is so old that who relies on it has to ask by ``find``.

        Raises ManifestUnknown.
        """
        row = rows.find(self._database, repository, reference)
        if row is None:
            raise _unknown(reference)
        return row, self._policy.is_old(row.linked_unix, time.time())

    def find(self, repository: str, reference: str) -> rows.ManifestRow:
        """``reference`` is a tag or a digest. Who asks by a digest may rely on it that the manifest is there: it is
        not collected for a while. Raises ManifestUnknown."""
        row, is_old = self.glance(repository, reference)
        if is_old:

            def renew(connection: Connection) -> bool:
                found = repositories.find(self._database, connection, repository)
                return found is not None and bool(rows.renew(connection, found, [reference]))

            if not self._database.write(renew):
                raise _unknown(reference)
        return row

    def get(self, repository: str, reference: str) -> tuple[rows.ManifestRow, bytes]:
        """The manifest and its bytes. Raises ManifestUnknown."""
        row, _ = self.glance(repository, reference)
        content = self._contents.get(row.digest)
        if content is None:
            content = rows.content(self._database, row.digest)
            if content is None:
                raise _unknown(reference)
            self._contents.keep(row.digest, content)
        return row, content

    def delete(self, repository: str, digest: Digest) -> None:
        """Takes it and the tags that name it from the repository. Raises ManifestUnknown."""

        def write(connection: Connection) -> bool:
            found = repositories.find(self._database, connection, repository)
            if found is None:
                return False
            unneeded.orphan_referrers(connection, found, digest)
            return rows.unlink(connection, found, digest)

        if not self._database.write(write):
            raise _unknown(digest)

    def referrers(
        self, repository: str, subject: Digest, artifact_type: str = "", behind: str = ""
    ) -> tuple[list[rows.ReferrerRow], bool]:
        """A page of the manifests about ``subject`` (of ``artifact_type``, if it is given) behind the digest
        ``behind``, and whether there are more."""
        with self._database.reading() as connection:
            sizes = rows.referrer_sizes(connection, repository, subject, artifact_type, behind, _REFERRERS_PAGE + 1)
            count, size_bytes = 0, 0
            for _, one_bytes in sizes[:_REFERRERS_PAGE]:
                size_bytes += one_bytes
                if count and size_bytes > _REFERRERS_PAGE_BYTES:
                    break
                count += 1
            found = rows.referrers(connection, [digest for digest, _ in sizes[:count]]) if count else []
        return found, len(sizes) > count


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


def _missing(connection: Connection, repository_id: int, manifest: rows.NewManifest) -> list[str]:
    """What the repository lacks of what the manifest refers to; what it has stays (``renew``).

    A subject may come later (distribution-spec, pushing manifests with subject).
    """
    if any(child == manifest.digest for _, child in manifest.references):
        raise ManifestInvalid("manifest invalid: it refers to itself")
    children = {child for kind, child in manifest.references if kind == "manifest"}
    parts = {child for kind, child in manifest.references if kind in ("config", "layer")}
    lacking = parts - blobs.renew(connection, repository_id, parts)
    return sorted(lacking | (children - rows.renew(connection, repository_id, children)))


def _unknown(reference: str) -> ManifestUnknown:
    return ManifestUnknown("manifest unknown to registry", {"reference": reference})
