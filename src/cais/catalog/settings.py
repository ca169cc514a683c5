"""The settings of registry and hub, as one value that a door has made."""

from __future__ import annotations

from cais.spec.media_types import MANIFEST_LIMIT_BYTES
from cais.spec.named import NamedTuple


class CatalogSettings(NamedTuple):
    """``root`` is the directory of blobs and, without ``database``, of the SQLite file.

    ``anonymous`` is what who is not known may do: "none", "read" (public repositories) or "write" (everything).
    Limits of 0 are none.
    """

    root: str
    database: str = ""
    anonymous: str = "none"
    manifest_limit_bytes: int = MANIFEST_LIMIT_BYTES
    blob_limit_bytes: int = 0

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.root}/registry.db"
