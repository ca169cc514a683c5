"""What can be wrong with a request, with the codes of the distribution specification.

Each is a kind of ``cais.errors``; ``code`` is what a client reads, ``status`` (where it is not the kind's) the HTTP
status, ``detail`` a JSON value that says more.
"""

from __future__ import annotations

from cais.errors import CaisError, Conflict, Denied, Invalid, NotFound, Unauthorized, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_MOST_DETAILS = 100


class CatalogError(CaisError):
    """``code`` and ``status`` belong to the class; 0 is the status of the kind."""

    code = "UNSUPPORTED"
    status = 0

    def __init__(self, message: str, detail: Any = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.detail = detail

    @property
    def details(self) -> list[Any]:
        """Of each entry of the answer: it is one error, or one for each of several things that are wrong."""
        return [self.detail]


class NameInvalid(CatalogError, Invalid):
    code = "NAME_INVALID"


class NameUnknown(CatalogError, NotFound):
    code = "NAME_UNKNOWN"


class TagInvalid(CatalogError, Invalid):
    code = "TAG_INVALID"


class DigestInvalid(CatalogError, Invalid):
    code = "DIGEST_INVALID"


class BlobUnknown(CatalogError, NotFound):
    code = "BLOB_UNKNOWN"


class UploadUnknown(CatalogError, NotFound):
    code = "BLOB_UPLOAD_UNKNOWN"


class UploadBusy(CatalogError, Conflict):
    """Two writers of one upload: this one has lost."""

    code = "BLOB_UPLOAD_INVALID"


class RangeInvalid(CatalogError, Invalid):
    """Bytes that are not the next ones of an upload."""

    code = "BLOB_UPLOAD_INVALID"
    status = 416


class SizeInvalid(CatalogError, Invalid):
    code = "SIZE_INVALID"


class TooLarge(CatalogError, Invalid):
    code = "SIZE_INVALID"
    status = 413


class ManifestUnknown(CatalogError, NotFound):
    code = "MANIFEST_UNKNOWN"


class ManifestInvalid(CatalogError, Invalid):
    code = "MANIFEST_INVALID"


class ManifestTooLarge(CatalogError, Invalid):
    code = "MANIFEST_INVALID"
    status = 413


class ManifestBlobUnknown(CatalogError, Invalid):
    """A manifest refers to what its repository has not: ``missing`` digests."""

    code = "MANIFEST_BLOB_UNKNOWN"

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("manifest references a manifest or blob unknown to registry")
        self.missing = missing

    @property
    def details(self) -> list[Any]:
        return [{"digest": digest} for digest in self.missing[:_MOST_DETAILS]]


class NotKnown(CatalogError, Unauthorized):
    """To ask again with (other) credentials may help: with a token for ``scope`` ("": any).

    ``problem`` is RFC 6750's word for what is wrong with the one that came: invalid_token, insufficient_scope.
    """

    code = "UNAUTHORIZED"

    def __init__(self, message: str, scope: str = "", problem: str = "") -> None:
        super().__init__(message, {"scope": scope} if scope else None)
        self.scope, self.problem = scope, problem


class NotGranted(NotKnown):
    """The token that came does not allow it."""

    code = "DENIED"


class NotAllowed(CatalogError, Denied):
    code = "DENIED"


class NotSupported(CatalogError, Unsupported):
    code = "UNSUPPORTED"
    status = 405
