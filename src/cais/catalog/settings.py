"""The settings of registry and hub, as one value that a door has made."""

from __future__ import annotations

from cais.blobs.s3_settings import S3Settings as S3Settings
from cais.spec.media_types import MANIFEST_LIMIT_BYTES
from cais.spec.named import NamedTuple


class AccessSettings(NamedTuple):
    """``anonymous`` is what those may do who do not sign in: "none", "read" (public repositories, and what everyone is
    granted) or "write" (everything). ``service`` names the registry in its tokens: the same for all replicas.
    """

    anonymous: str = "none"
    public: bool = False  # whether a repository is public from its first push on
    service: str = "cais-registry"
    token_seconds: float = 300.0
    key_seconds: float = 30 * 86400.0
    login_seconds: float = 90 * 86400.0
    # The administrator that is added where nobody can sign in yet; "" adds none.
    admin: str = ""
    admin_password: str = ""

    def __repr__(self) -> str:
        return f"AccessSettings(anonymous={self.anonymous!r}, service={self.service!r})"


class CatalogSettings(NamedTuple):
    """``root`` is the directory of blobs (without ``s3``) and (without ``database``) of the SQLite file.

    ``accept_missing`` takes manifests that refer to what is not there (yet): mirrors of a few platforms push such.
    ``grace_seconds`` is how long gc keeps what nothing refers to. Limits of 0 are none.
    """

    root: str
    database: str = ""
    access: AccessSettings = AccessSettings()
    manifest_limit_bytes: int = MANIFEST_LIMIT_BYTES
    blob_limit_bytes: int = 0
    s3: S3Settings | None = None
    accept_missing: bool = False
    grace_seconds: float = 86400.0

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.root}/registry.db"
