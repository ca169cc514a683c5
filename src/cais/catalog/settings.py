"""The settings of registry and hub, as one value that a door has made."""

from __future__ import annotations

from cais.blobs.s3_settings import S3Settings as S3Settings
from cais.spec.media_types import MANIFEST_LIMIT_BYTES
from cais.spec.named import NamedTuple


class Policy(NamedTuple):
    """When what nothing needs goes. ``grace_seconds``: not before so long after somebody relied on it.
    ``untagged_seconds``: manifests without a tag so long after their push; 0: they stay. ``uploads_seconds``: uploads
    so long after their last byte. ``batch``: how many rows a transaction touches."""

    grace_seconds: float = 86400.0
    untagged_seconds: float = 0.0
    uploads_seconds: float = 7 * 86400.0
    batch: int = 500

    def is_old(self, linked_unix: float, now_unix: float) -> bool:
        """Whether a link that a client is told of has to be made fresh, for it to rely on it."""
        return linked_unix < now_unix - self.grace_seconds / 4


class AccessSettings(NamedTuple):
    """``anonymous`` is what those may do who do not sign in: "none", "read" (public repositories, and what everyone is
    granted) or "write" (everything). ``service`` names the registry in its tokens: the same for all replicas, as is
    ``key_secret``, by which signing keys are encrypted in the records ("": they are not).
    """

    anonymous: str = "none"
    public: bool = False  # whether a repository is public from its first push on
    service: str = "cais-registry"
    token_seconds: float = 300.0
    key_seconds: float = 30 * 86400.0
    key_secret: str = ""
    login_seconds: float = 90 * 86400.0
    # The administrator that is added where nobody can sign in yet; "" adds none.
    admin: str = ""
    admin_password: str = ""

    def __repr__(self) -> str:
        return f"AccessSettings(anonymous={self.anonymous!r}, service={self.service!r})"


class CatalogSettings(NamedTuple):
    """``root`` is the directory of blobs (without ``s3``) and (without ``database``) of the SQLite file.

    ``accept_missing`` takes manifests that refer to what is not there (yet): mirrors of a few platforms push such.
    Limits of 0 are none.
    """

    root: str
    database: str = ""
    access: AccessSettings = AccessSettings()
    manifest_limit_bytes: int = MANIFEST_LIMIT_BYTES
    blob_limit_bytes: int = 0
    s3: S3Settings | None = None
    accept_missing: bool = False
    policy: Policy = Policy()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.root}/registry.db"
