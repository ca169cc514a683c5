"""A catalog on a directory of its own, whose clock the tests move: everything that it has noted grows older."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from sqlalchemy import select

from cais.blobs.files import FileBlobs
from cais.catalog.catalog import Catalog, prepare
from cais.catalog.gc import Collector, Report
from cais.catalog.settings import AccessSettings, CatalogSettings, Policy
from cais.records import blobs, manifests
from cais.records.blobs import REPOSITORY_BLOBS
from cais.records.database import Database
from cais.records.manifests import REPOSITORY_MANIFESTS
from cais.records.metadata import METADATA
from cais.records.repositories import REPOSITORIES
from cais.spec.digest import Digest

HOUR = 3600.0
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@cache
def _empty_database() -> bytes:
    """A SQLite file with the newest schema: making it takes longer than most tests."""
    directory = mkdtemp(prefix="cais-schema-")
    try:
        prepare(CatalogSettings(directory))
        return Path(directory, "registry.db").read_bytes()
    finally:
        shutil.rmtree(directory)


class AgedCatalog:
    """``database_url`` "" is SQLite in ``root``; another one has to have the schema."""

    def __init__(self, root: Path, policy: Policy, database_url: str = "") -> None:
        self.root = root
        self.settings = CatalogSettings(str(root), database_url, access=AccessSettings("write"), policy=policy)
        if not database_url and not (root / "registry.db").exists():
            root.mkdir(parents=True, exist_ok=True)
            (root / "registry.db").write_bytes(_empty_database())
        self.database = Database(self.settings.database_url)
        self.store = FileBlobs(str(root))
        self.catalog = Catalog(self.settings, self.database, self.store)

    def close(self) -> None:
        self.catalog.close()

    def collect(self, *, stop: Callable[[], bool] = lambda: False, **arguments: Any) -> Report:
        report = Collector(self.database, self.store, self.settings.policy, stop=stop).run(**arguments)
        assert report is not None
        return report

    def foresee(self) -> Report:
        return Collector(self.database, self.store, self.settings.policy).foresee()

    def grow_older(self, seconds: float) -> None:
        """As if so much time had gone by."""
        with self.database.reading() as connection:
            for table in METADATA.sorted_tables:
                columns = {name: column - seconds for name, column in table.c.items() if name.endswith("_unix")}
                if columns:
                    connection.execute(table.update().values(columns))
        for path in [*self.root.glob("blobs/*/*/*"), *self.root.glob("uploads/*")]:
            status = path.stat()
            os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))

    def files(self) -> set[str]:
        """Digests of the blobs whose bytes are there."""
        return {f"{path.parts[-3]}:{path.name.partition('.')[0]}" for path in self.root.glob("blobs/*/*/*")}

    def push_blob(self, repository: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        received = self.catalog.uploads.receive_whole(repository, "sha256")
        try:
            received.write([data])
            received.finish(digest)
        finally:
            received.close()
        return digest

    def read_blob(self, repository: str, digest: Digest) -> bytes:
        blob = self.catalog.blobs.open(repository, digest)
        try:
            return b"".join(blob.read(0, blob.size_bytes))
        finally:
            blob.close()

    def push_image(self, repository: str, tag: str, *layers: bytes, subject: str = "") -> Digest:
        """Of layers that are there, or not; "" is no tag."""
        return self.push(repository, tag, image(*layers, subject=subject))

    def push_index(self, repository: str, tag: str, *children: Digest) -> Digest:
        return self.push(repository, tag, index(*children))

    def push(self, repository: str, tag: str, content: bytes) -> Digest:
        return self.catalog.manifests.put(repository, content, "", tagged=[tag] if tag else []).digest

    def links(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """Pairs of repository and digest: of all blobs, of all manifests."""
        found = []
        with self.database.reading() as connection:
            for table in (REPOSITORY_BLOBS, REPOSITORY_MANIFESTS):
                wanted = select(REPOSITORIES.c.name, table.c.digest).where(REPOSITORIES.c.id == table.c.repository_id)
                found.append({(row[0], row[1]) for row in connection.execute(wanted)})
        return found[0], found[1]

    def has(self, repository: str, reference: str) -> bool:
        """Whether a manifest can be got; nothing relies on it by this."""
        return manifests.find(self.database, repository, reference) is not None

    def has_blob(self, repository: str, digest: str) -> bool:
        return blobs.find(self.database, repository, digest) is not None


CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def image(*layers: bytes, subject: str = "") -> bytes:
    """An image's manifest; its config is ``CONFIG``."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", CONFIG),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    if subject:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 2}
    return json.dumps(document).encode()


def index(*children: Digest) -> bytes:
    manifests = [{"mediaType": OCI_MANIFEST, "digest": child, "size": 2} for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
