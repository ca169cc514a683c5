"""Manifests from outside: what their bytes say, checked, as the rows that are kept of them. Pure."""

from __future__ import annotations

from cais.catalog.errors import ManifestInvalid
from cais.errors import CaisError
from cais.records.manifests import NewManifest
from cais.spec import manifest as documents
from cais.spec import media_types as types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.spec.descriptor import Descriptor
    from cais.spec.digest import Digest

# Layers that a registry need not have: their bytes come from elsewhere.
_ELSEWHERE = (types.OCI_LAYER_NONDISTRIBUTABLE, types.DOCKER_LAYER_FOREIGN)
_DOCUMENTS = types.MANIFESTS | types.INDEXES
_MEDIA_TYPE_LIMIT = 255


def read(content: bytes, media_type: str, digest: Digest, limit_bytes: int) -> NewManifest:
    """``media_type`` is what the client says ("" where it does not). Raises ManifestInvalid.

    The type that is kept is the document's own, so that the same bytes are the same in all repositories: a manifest
    that does not say its type is OCI's.
    """
    if media_type and media_type not in _DOCUMENTS:
        raise ManifestInvalid(f"manifest invalid: the media type {media_type[:80]!r} is not one of a manifest")
    try:
        document = documents.decode(content, media_type, limit_bytes)
        subject = document.subject
    except CaisError as error:
        raise ManifestInvalid(f"manifest invalid: {error.message}") from None
    references = []
    artifact_type = document.artifact_type
    if isinstance(document, documents.Manifest):
        artifact_type = artifact_type or document.config.media_type
        references.append(("config", document.config.digest))
        references += [("layer", layer.digest) for layer in document.layers if not _is_elsewhere(layer)]
    else:
        references += [(_kind(child), child.digest) for child in document.manifests if not _is_elsewhere(child)]
    if subject is not None:
        references.append(("subject", subject.digest))
    if len(artifact_type) > _MEDIA_TYPE_LIMIT or not artifact_type.isprintable():
        raise ManifestInvalid(
            f"manifest invalid: its artifact type is not up to {_MEDIA_TYPE_LIMIT} printable characters"
        )
    return NewManifest(
        digest,
        document.media_type,
        artifact_type,
        None if subject is None else subject.digest,
        document.annotations or None,
        content,
        tuple(dict.fromkeys(references)),
    )


def _is_elsewhere(child: Descriptor) -> bool:
    return child.media_type.startswith(_ELSEWHERE)


def _kind(child: Descriptor) -> str:
    """Of what an index lists: builders keep their caches as indexes of layers, which are blobs."""
    return "manifest" if not child.media_type or child.media_type in _DOCUMENTS else "layer"
