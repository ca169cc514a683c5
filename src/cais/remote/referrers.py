"""Referrers: the artifacts that name a manifest as their subject (distribution-spec, "Listing Referrers").

A registry without that API has a list of them under a tag that is made of the subject's digest; whoever pushes an
artifact there keeps the list.
"""

from __future__ import annotations

from urllib.parse import quote

from cais.errors import Corrupt, NotFound, Unsupported
from cais.remote.registry import Registry, pages
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, Manifest, decode

_LIMIT = 10_000


def referrers(registry: Registry, subject: Digest, artifact_type: str = "") -> list[Descriptor]:
    """Of a manifest, each with its artifact type; with ``artifact_type`` only those of it. [] where there are none.

    Raises Unavailable, Denied, Corrupt.
    """
    found = _listed(registry, subject, artifact_type)
    if found is None:
        found = _tagged(registry, subject)
    return [item for item in found if not artifact_type or item.artifact_type == artifact_type]


def list_under_tag(registry: Registry, stored: Descriptor, raw: bytes) -> None:
    """For a registry that keeps no list: adds a manifest that was stored there to its subject's, if it has one."""
    document = decode(raw, stored.media_type)
    if document.subject is None:
        return
    subject = document.subject.digest
    known = _tagged(registry, subject)
    if all(item.digest != stored.digest for item in known):
        index = Index.encode([*known, _described(stored, document)])
        registry.put_manifest(index.raw, index.media_type, fallback_tag(subject))


def fallback_tag(subject: Digest) -> str:
    """``sha256-<hex>``: of another algorithm cut as the specification says."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def _listed(registry: Registry, subject: Digest, artifact_type: str) -> list[Descriptor] | None:
    """By the API; None where the registry has none."""
    path = f"/v2/{registry.repository}/referrers/{subject}"
    if artifact_type:
        path += f"?artifactType={quote(artifact_type, safe='')}"
    found: list[Descriptor] = []
    try:
        for fields in pages(registry.transport, path, registry.scopes, f"the referrers of {subject}"):
            manifests = fields.get("manifests")
            if not isinstance(manifests, list):
                return None  # something else that answers everything
            found += [Descriptor.from_json(item, "a referrer") for item in manifests]
            if len(found) > _LIMIT:
                raise Corrupt(f"{subject} has more than {_LIMIT} referrers at {registry.name}")
    except (NotFound, Unsupported):
        return None
    return found


def _tagged(registry: Registry, subject: Digest) -> list[Descriptor]:
    try:
        document = registry.manifest(fallback_tag(subject))
    except NotFound:
        return []
    if document.descriptor.media_type not in types.INDEXES:
        return []
    return list(Index.decode(document.raw, document.descriptor.media_type).manifests)


def _described(stored: Descriptor, document: Manifest | Index) -> Descriptor:
    kind = document.artifact_type
    if not kind and isinstance(document, Manifest):
        kind = document.config.media_type
    return stored._replace(artifact_type=kind, annotations=document.annotations or None)
