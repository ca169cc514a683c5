"""Manifest and Index, in OCI and Docker schema-2 form (image-spec manifest.md, image-index.md).

Both keep the bytes they were decoded from; ``encode`` makes new ones, always the same for the same parts.
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import decode_object, encode
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class _Document:
    """Raw JSON bytes with a media type, and the fields in them. ``algorithm`` is that of the digest by which they are
    known."""

    __slots__ = ("algorithm", "fields", "media_type", "raw")

    def __init__(self, raw: bytes, media_type: str, fields: dict[str, Any]) -> None:
        self.raw = raw
        self.media_type = media_type
        self.fields = fields
        self.algorithm = "sha256"

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw, self.algorithm)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.fields.get("annotations") or {})

    @property
    def subject(self) -> Descriptor | None:
        subject = self.fields.get("subject")
        return None if subject is None else Descriptor.from_json(subject, "subject")

    @property
    def artifact_type(self) -> str:
        return str(self.fields.get("artifactType", ""))


class Manifest(_Document):
    """One image for one platform, or any other artifact: a config and layers."""

    __slots__ = ("config", "layers")

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def decode(cls, raw: bytes, media_type: str = "", limit_bytes: int = types.MANIFEST_LIMIT_BYTES) -> Manifest:
        """Raises Invalid or Corrupt, also where the document contradicts ``media_type`` (the descriptor's)."""
        fields = decode_object(raw, "manifest", limit_bytes)
        manifest = cls(raw, _media_type(fields, media_type, types.MANIFESTS, types.OCI_MANIFEST, "manifest"), fields)
        if "manifests" in fields:
            raise Invalid("manifest has both the form of a manifest and of an index ('manifests')")
        layers = fields.get("layers", [])
        if not isinstance(layers, list):
            raise Invalid("manifest's layers are not a list")
        manifest.config = Descriptor.from_json(fields.get("config"), "manifest's config")
        manifest.layers = tuple(Descriptor.from_json(layer, "manifest's layer") for layer in layers)
        return manifest

    @classmethod
    def encode(
        cls,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        media_type: str = types.OCI_MANIFEST,
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        fields: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        if annotations:
            fields["annotations"] = dict(annotations)
        manifest = cls(encode(fields), media_type, fields)
        manifest.config, manifest.layers = config, tuple(layers)
        return manifest

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What it refers to, in the order in which it is copied."""
        return (self.config, *self.layers)


class Index(_Document):
    """Manifests of several platforms under one name (also Docker's manifest list)."""

    __slots__ = ("manifests",)

    manifests: tuple[Descriptor, ...]

    @classmethod
    def decode(cls, raw: bytes, media_type: str = "", limit_bytes: int = types.MANIFEST_LIMIT_BYTES) -> Index:
        """Raises Invalid or Corrupt."""
        fields = decode_object(raw, "index", limit_bytes)
        index = cls(raw, _media_type(fields, media_type, types.INDEXES, types.OCI_INDEX, "index"), fields)
        manifests = fields.get("manifests", [])
        if not isinstance(manifests, list):
            raise Invalid("index's manifests are not a list")
        if "layers" in fields or "config" in fields:
            raise Invalid("index has both the form of an index and of a manifest ('config', 'layers')")
        index.manifests = tuple(Descriptor.from_json(item, "index's manifest") for item in manifests)
        return index

    @classmethod
    def encode(
        cls,
        manifests: Sequence[Descriptor],
        *,
        media_type: str = types.OCI_INDEX,
        annotations: Mapping[str, str] | None = None,
    ) -> Index:
        fields: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [item.to_json() for item in manifests],
        }
        if annotations:
            fields["annotations"] = dict(annotations)
        index = cls(encode(fields), media_type, fields)
        index.manifests = tuple(manifests)
        return index

    @property
    def children(self) -> tuple[Descriptor, ...]:
        return self.manifests

    def choose(self, platform: Platform) -> Descriptor | None:
        """The manifest for ``platform``: the exact variant before any other, the first listed before the next."""
        fitting = [item for item in self.manifests if item.platform is not None and platform.matches(item.platform)]
        for item in fitting:
            if item.platform is not None and item.platform.variant == platform.variant:
                return item
        if fitting:
            return fitting[0]
        unnamed = [item for item in self.manifests if item.platform is None and item.media_type in types.MANIFESTS]
        return unnamed[0] if unnamed else None


def decode(raw: bytes, media_type: str = "", limit_bytes: int = types.MANIFEST_LIMIT_BYTES) -> Manifest | Index:
    """Whichever of the two ``raw`` is: by ``media_type``, else by its own fields. Raises Invalid or Corrupt."""
    if media_type in types.MANIFESTS:
        return Manifest.decode(raw, media_type, limit_bytes)
    if media_type in types.INDEXES:
        return Index.decode(raw, media_type, limit_bytes)
    fields = decode_object(raw, "manifest", limit_bytes)
    if fields.get("mediaType") in types.INDEXES or "manifests" in fields:
        return Index.decode(raw, limit_bytes=limit_bytes)
    if fields.get("mediaType") in types.MANIFESTS or "config" in fields:
        return Manifest.decode(raw, limit_bytes=limit_bytes)
    raise Invalid(f"neither a manifest nor an index: media type {fields.get('mediaType', media_type)!r}")


def _media_type(fields: dict[str, Any], given: str, allowed: frozenset[str], default: str, what: str) -> str:
    if fields.get("schemaVersion") != 2:
        raise Invalid(f"{what} has schemaVersion {fields.get('schemaVersion')!r}, only 2 is known")
    inner = fields.get("mediaType")
    if inner is not None and (not isinstance(inner, str) or inner not in allowed):
        raise Invalid(f"{what} says that its media type is {inner!r}")
    if inner is not None and given and inner != given:
        raise Invalid(f"{what} says that its media type is {inner!r}, its descriptor {given!r}")
    annotations = fields.get("annotations")
    if annotations is not None and not (
        isinstance(annotations, dict) and all(isinstance(text, str) for text in annotations.values())
    ):
        raise Invalid(f"{what} has annotations that are not strings")
    return given or inner or default
